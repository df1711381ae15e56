package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// probeCommand asks a probe, as curl would: an image without a shell has nothing else to do it.
type probeCommand struct {
	URL     string        `arg:"" help:"The probe." default:"http://127.0.0.1:3000/readyz"`
	Timeout time.Duration `help:"How long an answer is waited for." default:"3s"`
}

// maxProbeAnswer is how much of an answer is shown, in bytes.
const maxProbeAnswer = 1000

// Run asks once.
func (c *probeCommand) Run(ctx context.Context, out console) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, http.NoBody)
	if err != nil {
		return badSetting("URL: %w", err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxProbeAnswer))
	if err != nil {
		return err
	}
	said := strings.TrimSpace(string(text))
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", c.URL, answer.Status, said)
	}
	printf(out.out, "%s\n", said)
	return nil
}
