package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An error is a line, an event, and the exit code.
func TestFinish(t *testing.T) {
	live := context.Background()
	gone, cancel := context.WithCancelCause(live)
	signal := errors.New("interrupt signal received")
	cancel(signal)
	for _, c := range []struct {
		ctx           context.Context
		err           error
		code          int
		line, problem string
	}{
		{live, nil, ExitOK, "", ""},
		{live, errors.New("no\nfile\x1b"), ExitFailure, `no; file\x1b`, ""},
		{live, Usagef("%s: no", "-p"), ExitUsage, "-p: no", ""},
		{live, fmt.Errorf("line 1: %w", Usage(Problem{"-W", "must be more"}, Problem{"-H", "too"})), ExitUsage, "line 1: -W: must be more; -H: too",
			`,"problems":[{"flag":"-W","message":"must be more"},{"flag":"-H","message":"too"}]`},
		{gone, fmt.Errorf("step 3: %w", signal), ExitInterrupted, "interrupted", ""},
		{gone, fmt.Errorf("step 3: %w", context.Canceled), ExitInterrupted, "interrupted", ""},
		{gone, Stopped(gone, signal, 2, 5, "picture"), ExitInterrupted, "interrupted; 2 of 5 pictures finished", ""},
		{gone, errors.New("a full disk"), ExitFailure, "a full disk", ""},
		{live, context.Canceled, ExitFailure, "context canceled", ""},
		{live, errors.New(strings.Repeat("x", 10_000)), ExitFailure, strings.Repeat("x", 8000) + "… (10000 bytes)", ""},
	} {
		var stderr, events bytes.Buffer
		require.Equal(t, c.code, Log{&stderr, &events}.Finish(c.ctx, c.err, ""), c.err)
		if c.err == nil {
			require.Empty(t, stderr.String()+events.String())
			continue
		}
		require.Equal(t, "sdgo: "+c.line+"\n", stderr.String())
		require.Equal(t, fmt.Sprintf(`{"event":"error","message":"%s","exit_code":%d%s}`+"\n", strings.ReplaceAll(c.line, `\`, `\\`), c.code, c.problem), events.String())
	}
	require.NoError(t, Usage())
	require.NoError(t, Stopped(gone, nil, 5, 5, "picture"))
}

func TestFinishWithoutEvents(t *testing.T) {
	var stderr, events bytes.Buffer
	require.Equal(t, ExitFailure, Log{Stderr: &stderr}.Finish(context.Background(), errors.New("no"), "; more helps"))
	require.Equal(t, "sdgo: no; more helps\n", stderr.String())
	require.Equal(t, ExitUsage, Log{&stderr, &events}.Finish(context.Background(), &UsageError{Text: "taken", NoEvent: true}, ""))
	require.Empty(t, events.String())
}

func TestWarn(t *testing.T) {
	var stderr, events bytes.Buffer
	Log{Stderr: &stderr}.Warn("too\nlarge")
	require.Equal(t, "sdgo: warning: too; large\n", stderr.String())
	stderr.Reset()
	Log{&stderr, &events}.Warn("too\nlarge")
	require.Empty(t, stderr.String())
	require.Equal(t, `{"event":"warning","message":"too\nlarge"}`+"\n", events.String())
}
