package txsender

import (
	"errors"
	"strings"
	"testing"
)

func TestEachKindIsChosenAndEachMistakeIsNamed(t *testing.T) {
	const url Secret = "https://relay.example/k3y-in-the-path"
	node := &fakeNode{}
	for name, test := range map[string]struct {
		config  Config
		setting string // "": no mistake
	}{
		"default":                        {Config{}, ""},
		"raw":                            {Config{Kind: KindRaw}, ""},
		"raw elsewhere":                  {Config{URLs: []Secret{url}}, ""},
		"raw over two keys of one host":  {Config{URLs: []Secret{url, "https://relay.example/another-key"}}, ""},
		"conditional":                    {Config{Kind: KindConditional}, ""},
		"conditional elsewhere":          {Config{Kind: KindConditional, URLs: []Secret{url}}, ""},
		"flashbots":                      {Config{Kind: KindFlashbots, ChainID: 1, FlashbotsAuthKey: authKey}, ""},
		"flashbots on sepolia":           {Config{Kind: KindFlashbots, ChainID: 11155111, FlashbotsAuthKey: authKey[2:]}, ""},
		"bloxroute":                      {Config{Kind: KindBloxroute, ChainID: 137, Authorization: "x"}, ""},
		"private":                        {Config{Kind: KindPrivate, URLs: []Secret{url, url}}, ""},
		"unheard of":                     {Config{Kind: "carrier-pigeon"}, SettingKind},
		"flashbots elsewhere":            {Config{Kind: KindFlashbots, ChainID: 10, FlashbotsAuthKey: authKey}, SettingKind},
		"flashbots without a key":        {Config{Kind: KindFlashbots, ChainID: 1}, SettingAuthKey},
		"flashbots with half a key":      {Config{Kind: KindFlashbots, ChainID: 1, FlashbotsAuthKey: authKey[:40]}, SettingAuthKey},
		"flashbots with two relays":      {Config{Kind: KindFlashbots, ChainID: 1, FlashbotsAuthKey: authKey, URLs: []Secret{url, url}}, SettingURLs},
		"flashbots with an empty name":   {Config{Kind: KindFlashbots, ChainID: 1, FlashbotsAuthKey: authKey, FlashbotsBuilders: []string{""}}, SettingBuilders},
		"flashbots with a bad status":    {Config{Kind: KindFlashbots, ChainID: 1, FlashbotsAuthKey: authKey, FlashbotsStatusURL: "ftp://k3y-in-the-path"}, SettingStatusURL},
		"bloxroute elsewhere":            {Config{Kind: KindBloxroute, ChainID: 1, Authorization: "x"}, SettingKind},
		"bloxroute without a header":     {Config{Kind: KindBloxroute, ChainID: 137}, SettingAuthorization},
		"bloxroute with two relays":      {Config{Kind: KindBloxroute, ChainID: 137, Authorization: "x", URLs: []Secret{url, url}}, SettingURLs},
		"private without a URL":          {Config{Kind: KindPrivate}, SettingURLs},
		"private with a strange method":  {Config{Kind: KindPrivate, URLs: []Secret{url}, PrivateMethod: "eth_call"}, SettingMethod},
		"conditional at two":             {Config{Kind: KindConditional, URLs: []Secret{url, url}}, SettingURLs},
		"a websocket":                    {Config{URLs: []Secret{"wss://host/k3y-in-the-path"}}, SettingURLs},
		"no URL at all":                  {Config{URLs: []Secret{"k3y-in-the-path"}}, SettingURLs},
		"an unreadable URL":              {Config{URLs: []Secret{"https://host:k3y-in-the-path/"}}, SettingURLs},
		"a conditional without a scheme": {Config{Kind: KindConditional, URLs: []Secret{"host/k3y-in-the-path"}}, SettingURLs},
		"a negative delay":               {Config{HedgeDelay: -1}, SettingHedge},
		"a negative limit":               {Config{MaxKnownSlots: -1}, SettingMaxSlots},
	} {
		test.config.Node = node
		sender, err := New(test.config)
		if test.setting == "" {
			if err != nil || sender == nil {
				t.Errorf("%s: have %v (%v), want a sender", name, sender, err)
			}
			continue
		}
		wrong, ok := errors.AsType[*SettingError](err)
		if !ok || wrong.Setting != test.setting || !errors.Is(err, ErrSetting) || sender != nil {
			t.Errorf("%s: have %v (%v), want a complaint about %s", name, sender, err, test.setting)
			continue
		}
		if strings.Contains(err.Error(), "k3y") || strings.Contains(err.Error(), "4c0883a6") {
			t.Errorf("%s: the complaint shows a secret: %v", name, err)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("without a node: have no error")
	}
}

func TestEveryKindHasItsWay(t *testing.T) {
	for kind, want := range map[Kind]Cancellation{
		KindRaw: Hard, KindConditional: Hard, KindFlashbots: Soft, KindBloxroute: Hard, KindPrivate: Hard,
	} {
		sender := everyKind(t, "https://relay.example", nil)[kind]
		if have := sender.Cancellation(); have != want {
			t.Errorf("%s: have cancellation %v, want %v", kind, have, want)
		}
		_, reports := sender.(StatusReporter)
		_, cancels := sender.(Canceller)
		if soft := want == Soft; reports != soft || cancels != soft {
			t.Errorf("%s: reports %t, cancels %t, want both %t", kind, reports, cancels, soft)
		}
	}
}

// Two API keys at one host are two endpoints: one may be blocked while the other is not.
func TestEndpointsOfOneHostHaveTheirOwnHealth(t *testing.T) {
	relay := newRelay(t, func(x exchange) (int, string) {
		if x.Path == "/blocked-key" {
			return 429, ""
		}
		return 200, `{"result":"` + someTx().Hash().Hex() + `"}`
	})
	health := NewHealth()
	sender := mustNew(t, Config{Node: &fakeNode{}, URLs: []Secret{Secret(relay.URL + "/blocked-key"), Secret(relay.URL + "/other-key")}, Health: health})
	for range failuresToRest {
		mustTake(t, sender.Send(t.Context(), someTx()))
	}
	have := health.Endpoints()
	if len(have) != 2 || have[0].Name != relay.URL || have[0].Healthy || have[1].Name != relay.URL+"#2" || !have[1].Healthy {
		t.Errorf("have %+v, want the first of two to rest", have)
	}
}
