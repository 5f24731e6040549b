//go:build unix

package pool

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/fake"
	"github.com/sdgo/sdgo/server/queue"
	"github.com/sdgo/sdgo/server/wire"
)

func TestMain(m *testing.M) { fake.Main(m.Run) }

// newPool makes a pool with fake models "a", "b", … of 1 GB each, "crash" and "broken".
func newPool(t *testing.T, l queue.Limits, c Config) (*queue.Queue, *Pool) {
	t.Helper()
	environ, program, err := fake.Command()
	require.NoError(t, err)
	if c.Start == nil {
		c.Start = Command(environ, program)
	}
	c.Lookup = func(name string) (Model, bool) {
		return Model{wire.Model{Role: wire.RoleModel, Name: name, Path: name}, name, 1 << 30}, name != "gone"
	}
	q := queue.New(l, nil)
	p := New(q, c)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		p.Close(ctx)
	})
	return q, p
}

func task(prompt string, seed int64) queue.Task {
	return queue.Task{Request: request.Request{Prompt: prompt, Seed: seed, Steps: 5, Sampler: "euler", Width: 32, Height: 32}}
}

func add(t *testing.T, q *queue.Queue, model string, tasks ...queue.Task) *queue.Job {
	t.Helper()
	j, err := q.Add(queue.Spec{API: "test", Client: "c", Model: model, Tasks: tasks})
	require.NoError(t, err)
	return j
}

// wait waits for a job's end.
func wait(t *testing.T, j *queue.Job) queue.View {
	t.Helper()
	select {
	case <-j.Ended():
	case <-time.After(time.Minute):
		require.Fail(t, "the job does not end")
	}
	v, _ := j.View()
	return v
}

// requirePicture checks that a picture is the one of a request.
func requirePicture(t *testing.T, want queue.Task, got *queue.Picture) {
	t.Helper()
	img, err := picture.Read(bytes.NewReader(got.Data))
	require.NoError(t, err)
	q, err := want.Request.Resolve(request.Defaults{Side: 64, Align: 8})
	require.NoError(t, err)
	require.Equal(t, fake.Picture(q).Pix, img.Pix)
	require.Contains(t, got.Text, "Seed: "+fmt.Sprint(want.Request.Seed))
}

func TestPictures(t *testing.T) {
	q, _ := newPool(t, queue.Limits{}, Config{Batch: 2})
	with := task("with a picture", 7)
	img := image.NewNRGBA(image.Rect(0, 0, 32, 32))
	mask := image.NewGray(image.Rect(0, 0, 32, 32))
	for i := range mask.Pix {
		mask.Pix[i], img.Pix[4*i+3] = 255, 255
	}
	with.Request.Image, with.Request.Mask = img, mask
	all := []queue.Task{task("one", 1), task("two", 2), with}
	j := add(t, q, "a", all...)
	v := wait(t, j)
	require.Equal(t, queue.Done, v.State, v.Err)
	require.Len(t, v.Pictures, 3)
	with.Request.Image, with.Request.Mask = img, mask // its own copy
	all[2] = with
	for i, p := range v.Pictures {
		requirePicture(t, all[i], p)
	}
}

func TestFailures(t *testing.T) {
	q, p := newPool(t, queue.Limits{}, Config{})
	v := wait(t, add(t, q, "a", task(fake.Fail, 1), task("never", 2)))
	require.Equal(t, queue.Failed, v.State)
	require.Equal(t, "the test asked for it", v.Err.Message)
	bad := task("x", 1)
	bad.Request.Width = 33
	v = wait(t, add(t, q, "a", bad))
	require.Equal(t, wire.CodeInvalid, v.Err.Code)
	require.Equal(t, "Width", v.Err.Problems[0].Field)
	v = wait(t, add(t, q, "broken", task("x", 1)))
	require.Equal(t, wire.CodeModel, v.Err.Code)
	require.NotContains(t, v.Err.Message, "not a model", "errors of files are for the log")
	require.Equal(t, "failed", p.Status("broken").State)
	v = wait(t, add(t, q, "gone", task("x", 1)))
	require.Equal(t, wire.CodeModel, v.Err.Code)
	require.Equal(t, queue.Done, wait(t, add(t, q, "a", task("x", 1))).State, "the worker is still there")
}

// A job that crashes its worker is tried twice and then told; the job beside it is lost
// to no one.
func TestCrash(t *testing.T) {
	q, _ := newPool(t, queue.Limits{}, Config{Batch: 4})
	good := task(fake.Slow, 1)
	good.Request.Steps = 20
	a, b := add(t, q, "a", good), add(t, q, "a", task(fake.Crash, 2))
	v := wait(t, b)
	require.Equal(t, queue.Failed, v.State)
	require.Equal(t, "worker_lost", v.Err.Code)
	require.Equal(t, 2, v.Attempt)
	require.NotContains(t, v.Err.Message, "GGML")
	v = wait(t, a)
	require.Equal(t, queue.Done, v.State, v.Err)
	requirePicture(t, good, v.Pictures[0])
}

// A model that crashes whenever it is opened is refused after three times, and others
// go on.
func TestBreaker(t *testing.T) {
	q, p := newPool(t, queue.Limits{}, Config{})
	j := add(t, q, "crash", task("x", 1))
	v := wait(t, j)
	require.Equal(t, "model_disabled", v.Err.Code)
	require.Equal(t, []string{"crash"}, p.Disabled())
	require.Equal(t, "disabled", p.Status("crash").State)
	start := time.Now()
	v = wait(t, add(t, q, "crash", task("x", 1)))
	require.Equal(t, "model_disabled", v.Err.Code)
	require.Less(t, time.Since(start), 2*time.Second, "no worker was started")
	require.Equal(t, queue.Done, wait(t, add(t, q, "a", task("x", 1))).State)
}

func TestBreakerTimes(t *testing.T) {
	var b breaker
	now := time.Unix(0, 0)
	b.crashed(now)
	require.Equal(t, firstDelay, b.wait(now))
	b.crashed(now)
	_, refused := b.refuses(now)
	require.False(t, refused)
	b.crashed(now)
	left, refused := b.refuses(now)
	require.True(t, refused)
	require.Equal(t, firstPause, left)
	_, refused = b.refuses(now.Add(firstPause))
	require.False(t, refused, "then one is tried")
	b.crashed(now)
	left, _ = b.refuses(now)
	require.Equal(t, 2*firstPause, left)
	for range 100 {
		b.crashed(now)
	}
	left, _ = b.refuses(now)
	require.Equal(t, maxPause, left)
	b.worked()
	require.Equal(t, breaker{}, b)
}

// A worker that makes no progress is ended, and so is one that gives no sign of life.
func TestHang(t *testing.T) {
	// A process takes its time to start on a busy machine, which is not what is tested.
	q, p := newPool(t, queue.Limits{}, Config{Stall: 1500 * time.Millisecond, Opening: time.Minute, Silence: 5 * time.Second, Retries: -1})
	v := wait(t, add(t, q, "a", task(fake.Hang, 1)))
	require.Equal(t, "worker_lost", v.Err.Code)
	require.Contains(t, v.Err.Message, "made no progress for 1.5s")
	require.Equal(t, queue.Done, wait(t, add(t, q, "a", task("x", 1))).State)
	for _, pid := range p.pids() {
		require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	}
	require.Equal(t, queue.Failed, wait(t, add(t, q, "a", task("x", 1))).State)
	require.Equal(t, queue.Done, wait(t, add(t, q, "a", task("x", 1))).State)
}

// Time in which the server itself did not run counts against no worker.
func TestLateWatch(t *testing.T) {
	p := &Pool{config: Config{Stall: time.Minute, Opening: time.Minute, Silence: 30 * time.Second, Grace: 15 * time.Second}}
	now := time.Now()
	proc := &unwatched{}
	for _, c := range []struct {
		name string
		late time.Duration
		ends bool
		m    member
	}{
		{"silent, the server awake", 0, true, member{heard: now.Add(-31 * time.Second), ready: true}},
		{"silent, the server asleep", 20 * time.Second, false, member{heard: now.Add(-31 * time.Second), ready: true}},
		{"opening, awake", 0, true, member{heard: now, opens: now.Add(-61 * time.Second)}},
		{"opening, asleep", 20 * time.Second, false, member{heard: now, opens: now.Add(-61 * time.Second)}},
		{"a stalled job, awake", 0, true, member{heard: now, ready: true, runs: map[string]*run{"": {moved: now.Add(-61 * time.Second)}}}},
		{"a stalled job, asleep", 20 * time.Second, false, member{heard: now, ready: true, runs: map[string]*run{"": {moved: now.Add(-61 * time.Second)}}}},
		{"a cancelled job, awake", 0, true, member{heard: now, ready: true, runs: map[string]*run{"": {moved: now, stopped: now.Add(-16 * time.Second)}}}},
		{"a cancelled job, asleep", 10 * time.Second, false, member{heard: now, ready: true, runs: map[string]*run{"": {moved: now, stopped: now.Add(-16 * time.Second)}}}},
		{"a cancelled job, long enough", 500 * time.Millisecond, true, member{heard: now, ready: true, runs: map[string]*run{"": {moved: now, stopped: now.Add(-16 * time.Second)}}}},
	} {
		proc.killed = false
		c.m.proc = proc
		c.m.forgive(c.late)
		c.m.check(p, now)
		require.Equal(t, c.ends, proc.killed, c.name)
	}
}

// unwatched is a process that notes its end.
type unwatched struct {
	Process
	killed bool
}

func (u *unwatched) Kill() { u.killed = true }

func TestCancelAndSkip(t *testing.T) {
	q, p := newPool(t, queue.Limits{}, Config{Grace: 300 * time.Millisecond})
	long := task(fake.Slow, 1)
	long.Request.Steps = 1000
	running, waiting := add(t, q, "a", long), add(t, q, "a", task("x", 1))
	require.Eventually(t, func() bool { v, _ := running.View(); return v.Step > 1 }, 10*time.Second, time.Millisecond)
	require.True(t, q.Cancel(waiting))
	require.Equal(t, queue.Cancelled, waiting.State())
	require.True(t, q.Cancel(running))
	require.Equal(t, queue.Cancelled, running.State(), "at once")
	first, second := long, task(fake.Slow, 2)
	first.Request.Steps, second.Request.Steps = 60, 60
	two := add(t, q, "a", first, second)
	require.Eventually(t, func() bool { v, _ := two.View(); return v.Step > 1 }, 10*time.Second, time.Millisecond)
	require.True(t, p.Skip(two))
	v := wait(t, two)
	require.Equal(t, queue.Done, v.State, v.Err)
	require.Len(t, v.Pictures, 1)
	require.NotEqual(t, two.Skipped(0), two.Skipped(1), "the one that was being made")
	require.Equal(t, two.Skipped(0), v.Pictures[0].Seed == 2)
	require.Equal(t, 1, v.Skipped)
	// One that does not stop is ended with its worker.
	hang := add(t, q, "a", task(fake.Hang, 1))
	require.Eventually(t, func() bool { v, _ := hang.View(); return v.Step > 1 }, 10*time.Second, time.Millisecond)
	q.Cancel(hang)
	require.Equal(t, queue.Done, wait(t, add(t, q, "a", task("x", 1))).State)
}

// Models come and go within the memory there is, the least recently used first.
func TestMemory(t *testing.T) {
	q, p := newPool(t, queue.Limits{}, Config{Budget: 3 << 30, Patience: 100 * time.Millisecond})
	for _, name := range []string{"a", "b", "a"} {
		require.Equal(t, queue.Done, wait(t, add(t, q, name, task("x", 1))).State)
	}
	require.Equal(t, queue.Done, wait(t, add(t, q, "c", task("x", 1))).State)
	require.Equal(t, "loaded", p.Status("a").State)
	require.Equal(t, "unloaded", p.Status("b").State)
	require.Equal(t, "loaded", p.Status("c").State)
	// A job for a further model is not kept waiting by ever more jobs for the others.
	slow := task(fake.Slow, 1)
	others := []*queue.Job{add(t, q, "a", slow), add(t, q, "c", slow)}
	b := add(t, q, "b", task("x", 1))
	for range 20 {
		others = append(others, add(t, q, "a", slow), add(t, q, "c", slow))
	}
	require.Equal(t, queue.Done, wait(t, b).State)
	left := 0
	for _, j := range others {
		if !j.State().Ended() {
			left++
		}
	}
	require.Positive(t, left)
	require.True(t, p.Unload("unknown"))
	for _, j := range others {
		require.Equal(t, queue.Done, wait(t, j).State)
	}

	q, _ = newPool(t, queue.Limits{}, Config{Budget: 1 << 30})
	v := wait(t, add(t, q, "a", task("x", 1)))
	require.Equal(t, wire.CodeMemory, v.Err.Code)
}

// Workers are killed at random moments: every job ends, once, with the right picture or
// with the news that its worker was lost twice.
func TestKills(t *testing.T) {
	kills := 50
	if testing.Short() {
		kills = 10
	}
	q, p := newPool(t, queue.Limits{Waiting: 10_000}, Config{Batch: 2, Retries: 20, Pause: time.Millisecond})
	stop := make(chan struct{})
	var killer sync.WaitGroup
	killed := 0
	killer.Go(func() {
		for killed < kills {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rand.IntN(60)) * time.Millisecond):
			}
			for _, pid := range p.pids() {
				if syscall.Kill(pid, syscall.SIGKILL) == nil {
					killed++
				}
			}
			// as long as workers get something done, the breaker stays closed
			before := len(q.Pictures())
			for deadline := time.Now().Add(5 * time.Second); len(q.Pictures()) == before && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
		}
	})
	var all []*queue.Job
	var tasks []queue.Task
	done := make(chan struct{})
	go func() { killer.Wait(); close(done) }()
	for i, running := int64(0), true; running; i++ {
		one := task(fmt.Sprintf("%s %d", fake.Slow, i), i)
		tasks = append(tasks, one)
		all = append(all, add(t, q, "a", one))
		select {
		case <-done:
			running = false
		case <-time.After(20 * time.Millisecond):
			for len(q.Waiting()) > 4 {
				time.Sleep(time.Millisecond)
			}
		}
	}
	lost := 0
	for i, j := range all {
		v := wait(t, j)
		switch {
		case v.State == queue.Done:
			require.Len(t, v.Pictures, 1)
			requirePicture(t, tasks[i], v.Pictures[0])
		default:
			require.Contains(t, []string{"worker_lost", "model_disabled"}, v.Err.Code)
			lost++
		}
	}
	t.Logf("%d jobs, %d kills, %d jobs lost", len(all), killed, lost)
	require.Equal(t, kills, killed)
	require.LessOrEqual(t, lost, len(all)/20) // those of a model that had crashed three times in a row
}

// Workers don't outlive their server.
func TestWorkersEndWithTheServer(t *testing.T) {
	environ, program, err := fake.Command()
	require.NoError(t, err)
	proc, err := Command(environ, program)()
	require.NoError(t, err)
	require.NoError(t, wire.NewWriter(proc.In()).Write(wire.Message{Kind: wire.Open, Model: &wire.Model{Name: "a"}}))
	m, err := wire.Read(proc.Out())
	require.NoError(t, err)
	require.Equal(t, wire.Ready, m.Kind)
	require.NoError(t, proc.In().Close()) // as the kernel does when the server dies
	require.Contains(t, proc.Wait().How, "exit status 3")
}

// Running jobs may end when the server shuts down, and waiting ones are told.
func TestShutdown(t *testing.T) {
	q, p := newPool(t, queue.Limits{}, Config{})
	running, waiting := add(t, q, "a", task(fake.Slow, 1)), add(t, q, "a", task("x", 2))
	require.Eventually(t, func() bool { return running.State() == queue.Running }, 10*time.Second, time.Millisecond)
	p.Close(context.Background())
	require.Equal(t, queue.Done, running.State())
	v, _ := waiting.View()
	require.Equal(t, "shutting_down", v.Err.Code)
	_, err := q.Add(queue.Spec{Tasks: []queue.Task{task("x", 1)}})
	require.ErrorIs(t, err, queue.ErrStopping)
}

func TestTail(t *testing.T) {
	var out tail
	for i := range 5000 {
		fmt.Fprintf(&out, "line %d\n", i)
	}
	lines := strings.Split(out.String(), "\n")
	require.Len(t, lines, tailLines)
	require.Equal(t, "line 4999", lines[tailLines-1])
}
