package pool

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Process is a worker that was started.
type Process interface {
	// In is where messages to the worker are written, Out where its own are read.
	// Closing In asks the worker to end.
	In() io.WriteCloser
	Out() io.Reader

	// Kill ends it at once.
	Kill()

	// Wait waits for its end and says how it ended, with the last lines of its
	// standard error, which are for the log and for nobody else.
	Wait() Exit
}

// Exit says how a worker ended.
type Exit struct {
	How  string // "exit status 134", "signal: killed"
	Tail string // the last lines of standard error
}

// Start starts a worker.
type Start func() (Process, error)

// Command starts workers with a command line in an environment.
func Command(env []string, name string, args ...string) Start {
	return func() (Process, error) {
		c := exec.Command(name, args...)
		c.Env = env
		detach(c)
		in, err := c.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := c.StdoutPipe()
		if err != nil {
			return nil, err
		}
		p := &process{command: c, in: in, out: out}
		c.Stderr = &p.tail
		c.WaitDelay = time.Second
		if err := c.Start(); err != nil {
			return nil, fmt.Errorf("a worker cannot be started: %w", err)
		}
		return p, nil
	}
}

// process is a process of the system.
type process struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     io.ReadCloser
	tail    tail
}

func (p *process) In() io.WriteCloser { return p.in }
func (p *process) Out() io.Reader     { return p.out }
func (p *process) Kill()              { _ = p.command.Process.Kill() }

// Pid is the process's number.
func (p *process) Pid() int { return p.command.Process.Pid }

func (p *process) Wait() Exit {
	err := p.command.Wait()
	how := p.command.ProcessState.String()
	if err != nil {
		how = err.Error()
	}
	return Exit{how, p.tail.String()}
}

// Bounds of what is kept of a worker's standard error.
const (
	tailLines = 20
	tailBytes = 8 << 10
)

// tail keeps the end of what is written.
type tail struct {
	mutex sync.Mutex
	text  []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.text = append(t.text, b...)
	if n := len(t.text) - tailBytes; n > 0 {
		t.text = bytes.Clone(t.text[n:])
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(t.text), "�")), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
