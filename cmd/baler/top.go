package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"baler/node"

	tea "github.com/charmbracelet/bubbletea"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// topCommand shows a running bundler in the terminal.
type topCommand struct {
	Interval time.Duration `help:"Time between two looks." default:"1s"`
	Once     bool          `help:"Print one look and end; for scripts."`

	operatorSettings
}

// Help is shown with the flags.
func (*topCommand) Help() string {
	return `Shows the bundle senders, the mempool and what was mined, as it changes. q ends it.

Examples:
  baler top                                            of the bundler on this machine
  baler top --admin-url https://bundler:3001           of another; its token is in BALER_ADMIN_TOKEN
  baler top --once                                     one look, for a script`
}

// look is what is seen of a bundler at one moment.
type look struct {
	at      time.Time
	health  node.Health
	metrics map[string]*dto.MetricFamily
	err     error
}

// Run shows the bundler until q is pressed or the context ends.
func (c *topCommand) Run(ctx context.Context, out console) error {
	client, err := c.http(10 * time.Second)
	if err != nil {
		return err
	}
	if c.Once {
		now := c.look(ctx, client)
		if now.err != nil {
			return now.err
		}
		printf(out.out, "%s", frame(now, look{}, 100))
		return nil
	}
	if c.Interval < 100*time.Millisecond {
		return badSetting("--interval: have %s, want at least 100ms", c.Interval)
	}
	program := tea.NewProgram(&topScreen{command: c, client: client, ctx: ctx, width: 100}, tea.WithContext(ctx), tea.WithAltScreen(), tea.WithOutput(out.out))
	if _, err = program.Run(); errors.Is(err, tea.ErrProgramKilled) || errors.Is(err, context.Canceled) {
		return nil // it was told to end
	}
	return err
}

// look asks the operators' server for its health and its metrics.
func (c *topCommand) look(ctx context.Context, client *http.Client) look {
	now := look{at: time.Now()}
	now.err = c.get(ctx, client, "/health", func(body io.Reader) error { return json.NewDecoder(body).Decode(&now.health) })
	if now.err == nil {
		now.err = c.get(ctx, client, "/metrics", func(body io.Reader) (err error) {
			parser := expfmt.NewTextParser(model.LegacyValidation)
			now.metrics, err = parser.TextToMetricFamilies(body)
			return err
		})
	}
	return now
}

// maxLook bounds what a server may answer.
const maxLook = 16 << 20

func (c *topCommand) get(ctx context.Context, client *http.Client, path string, read func(io.Reader) error) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.AdminURL+path, nil)
	if err != nil {
		return badSetting("--admin_url: have %q, want a URL such as http://127.0.0.1:3001", c.AdminURL)
	}
	if c.AdminToken != "" {
		request.Header.Set("Authorization", "Bearer "+c.AdminToken)
	}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("no operators' server answers at %s: is --admin_addr of the bundler set, and --admin_url right? (%w)", c.AdminURL, err)
	}
	defer func() { _ = answer.Body.Close() }()
	switch {
	case answer.StatusCode == http.StatusUnauthorized:
		return badSetting("--admin_token is missing or wrong; better given as BALER_ADMIN_TOKEN")
	case answer.StatusCode == http.StatusOK, path == "/health" && answer.StatusCode == http.StatusServiceUnavailable:
		return read(io.LimitReader(answer.Body, maxLook))
	default:
		return fmt.Errorf("%s%s: HTTP status %d", c.AdminURL, path, answer.StatusCode)
	}
}

// topScreen is the program's model in the terminal.
type topScreen struct {
	command *topCommand
	client  *http.Client
	ctx     context.Context //nolint:containedctx // the library's commands take none
	width   int

	now, before look
}

type tick struct{}

// Init implements [tea.Model].
func (s *topScreen) Init() tea.Cmd { return s.lookAgain }

func (s *topScreen) lookAgain() tea.Msg { return s.command.look(s.ctx, s.client) }

// Update implements [tea.Model].
func (s *topScreen) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch m := message.(type) {
	case tea.KeyMsg:
		if key := m.String(); key == "q" || key == "ctrl+c" || key == "esc" {
			return s, tea.Quit
		}
	case tea.WindowSizeMsg:
		s.width = m.Width
	case look:
		if s.now.err == nil && s.now.metrics != nil {
			s.before = s.now
		}
		s.now = m
		return s, tea.Tick(s.command.Interval, func(time.Time) tea.Msg { return tick{} })
	case tick:
		return s, s.lookAgain
	}
	return s, nil
}

// View implements [tea.Model].
func (s *topScreen) View() string {
	switch {
	case s.now.err != nil:
		return "baler top: " + s.now.err.Error() + "\n\nIt is tried again. q ends.\n"
	case s.now.metrics == nil:
		return "baler top: looking at " + s.command.AdminURL + " ...\n"
	default:
		return frame(s.now, s.before, s.width) + "\nq ends\n"
	}
}
