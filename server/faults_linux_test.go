package server

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/server/fake"
	"github.com/sdgo/sdgo/server/gallery"
	"github.com/sdgo/sdgo/server/queue"
)

// children are the numbers of this process's children.
func children(t testing.TB) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		for word := range strings.FieldsSeq(string(text)) {
			pid := 0
			if _, err := fmt.Sscan(word, &pid); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// delays are how long answers took: the server's, and those of a handler beside it that
// does nothing, which a busy machine delays as well.
type delays struct {
	testing.TB
	plain *httptest.Server

	mutex           sync.Mutex
	answers, others []time.Duration
}

func newDelays(t testing.TB) *delays {
	d := &delays{TB: t, plain: httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))}
	t.Cleanup(d.plain.Close)
	return d
}

// ask asks both.
func (d *delays) ask(url string) {
	took := func(url string) time.Duration {
		began := time.Now()
		if reply, err := http.Get(url); err == nil {
			_, _ = io.Copy(io.Discard, reply.Body)
			reply.Body.Close()
		}
		return time.Since(began)
	}
	other, answer := took(d.plain.URL), took(url)
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.answers, d.others = append(d.answers, answer), append(d.others, other)
}

// require checks that 99 of 100 answers took at most so much longer than those of the
// handler that does nothing, and the slowest a second.
func (d *delays) require(bound time.Duration) {
	d.Helper()
	slices.Sort(d.answers)
	slices.Sort(d.others)
	n := len(d.answers)
	p99, other, slowest := d.answers[n*99/100], d.others[n*99/100], d.answers[n-1]
	d.Logf("%d answers: 99 of 100 within %v, the slowest took %v; an answer of nothing %v and %v", n, p99, slowest, other, d.others[n-1])
	require.Less(d, p99, other+bound)
	require.Less(d, slowest, d.others[n-1]+time.Second)
}

// Workers die at any moment, and the server answers within 100 ms all the time: no job is
// lost, and each makes its own pictures.
func TestWorkersAreKilledUnderLoad(t *testing.T) {
	f := start(t, func(c *Config) { c.Pool.Batch, c.Pool.Retries = 4, 1000 })
	kills := 50
	if testing.Short() {
		kills = 10
	}
	jobs := 2*kills + 20
	d := newDelays(t)
	stop := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				d.ask(f.web.URL + "/sdapi/v1/progress")
			}
		}
	})
	var urls []string
	for i := range jobs {
		urls = append(urls, f.object(202, "POST", "/api/v1/jobs", fmt.Sprintf(`{"request": {"prompt": "%s", "seed": %d, "width": 64, "height": 64, "steps": 3}}`, fake.Slow, i))["poll_url"].(string))
	}
	killed := 0
	pick := rand.New(rand.NewPCG(1, 2))
	done := func() (n int) {
		for _, j := range f.Service().Queue.Jobs() {
			if j.State() == queue.Done {
				n++
			}
		}
		return n
	}
	for killed < kills {
		before := done()
		require.Eventually(t, func() bool { return done() > before || done() == jobs }, 20*time.Second, time.Millisecond, "after a kill work goes on")
		if before >= jobs-1 {
			break
		}
		time.Sleep(time.Duration(pick.IntN(60)) * time.Millisecond)
		for _, pid := range children(t) {
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			killed++
		}
	}
	require.GreaterOrEqual(t, killed, kills)
	for i, url := range urls {
		var job object
		require.Eventually(t, func() bool {
			job = f.object(200, "GET", url, nil)
			return job["ended"] != nil
		}, 30*time.Second, 5*time.Millisecond)
		require.Equal(t, "done", job["status"], job)
		require.Len(t, job["pictures"], 1)
		require.Equal(t, float64(i), job["pictures"].([]any)[0].(object)["seed"])
	}
	close(stop)
	asking.Wait()
	t.Logf("%d workers killed", killed)
	d.require(100 * time.Millisecond)
}

// A model that crashes its worker again and again is refused for a time, and others are
// drawn.
func TestBreakerOverHTTP(t *testing.T) {
	f := start(t, func(c *Config) { c.Pool.Pause = 2 * time.Second })
	crash := `{"prompt": "` + fake.Crash + `", "size": "64x64"}`
	require.Equal(t, "worker_lost", f.object(500, "POST", "/v1/images/generations", crash)["error"].(object)["code"], "it was tried twice")
	f.object(503, "POST", "/v1/images/generations", crash)
	e := f.object(503, "POST", "/v1/images/generations", `{"prompt": "x", "size": "64x64"}`)["error"].(object)
	require.Equal(t, "model_disabled", e["code"])
	require.Equal(t, "degraded", f.object(200, "GET", "/healthz", nil)["status"])
	require.Equal(t, []any{"fake-a"}, f.object(200, "GET", "/api/v1/status", nil)["disabled"])
	f.object(200, "POST", "/v1/images/generations", `{"prompt": "x", "size": "64x64", "model": "sd2"}`)
	require.Eventually(t, func() bool {
		reply, _ := f.do("POST", "/v1/images/generations", `{"prompt": "x", "size": "64x64"}`)
		return reply.StatusCode == 200
	}, 20*time.Second, 100*time.Millisecond)
	require.Equal(t, "ok", f.object(200, "GET", "/healthz", nil)["status"])
}

// The disk that pictures are kept on is full: they stay in memory, the job says so, and
// nothing half-written is left.
func TestDiskIsFull(t *testing.T) {
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("no file system can be mounted here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) })
	g, err := gallery.Open(folder)
	require.NoError(t, err)
	t.Cleanup(func() { g.Close() })
	f := start(t, func(c *Config) { c.Service.Gallery = g })
	require.NoError(t, os.WriteFile(filepath.Join(folder, "full"), make([]byte, 64<<10), 0o600))
	job := f.object(202, "POST", "/api/v1/jobs", `{"request": {"prompt": "x", "width": 512, "height": 512, "steps": 2}}`)
	require.Eventually(t, func() bool {
		job = f.object(200, "GET", job["poll_url"].(string), nil)
		return job["warnings"] != nil
	}, 10*time.Second, 5*time.Millisecond)
	require.Equal(t, "done", job["status"])
	require.Contains(t, fmt.Sprint(job["warnings"]), "could not be saved")
	reply, _ := f.do("GET", job["pictures"].([]any)[0].(object)["url"].(string), nil)
	require.Equal(t, 200, reply.StatusCode)
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing half-written")
	require.NoError(t, os.Remove(filepath.Join(folder, "full")))
	f.object(200, "POST", "/sdapi/v1/txt2img", `{"width": 64, "height": 64, "steps": 1}`)
	require.Eventually(t, func() bool { return len(g.List()) == 1 }, 5*time.Second, 5*time.Millisecond)
}

// run starts a server on a port of its own.
func (f *fixture) run(ctx context.Context) (address string, ended <-chan error) {
	f.Helper()
	at, end := make(chan string, 1), make(chan error, 1)
	go func() { end <- f.Run(ctx, func(a string) { at <- a }) }()
	select {
	case address = <-at:
	case err := <-end:
		require.NoError(f, err)
	}
	return address, end
}

// Hundreds of connections that say nothing, or little, keep no other client waiting.
func TestSlowLoris(t *testing.T) {
	f := start(t, func(c *Config) { c.Body = time.Second })
	ctx, cancel := context.WithCancel(t.Context())
	address, ended := f.run(ctx)
	for i := range 300 {
		c, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer c.Close()
		fmt.Fprint(c, []string{"", "POST /sdapi/v1/txt2img HT", "POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: localhost\r\nX: ", "POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"}[i%4])
	}
	began := time.Now()
	reply, err := http.Get("http://" + address + "/api/v1/status")
	require.NoError(t, err)
	reply.Body.Close()
	require.Equal(t, 200, reply.StatusCode)
	require.Less(t, time.Since(began), time.Second)
	h := f.http(http.NotFoundHandler())
	require.LessOrEqual(t, h.ReadHeaderTimeout, 10*time.Second)
	require.NotZero(t, h.IdleTimeout)
	cancel()
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(20 * time.Second):
		require.Fail(t, "it does not end while connections are open")
	}
}

// When the server is asked to end, running jobs end and their replies are written; those
// that wait are told, and readiness, too.
func TestGracefulShutdown(t *testing.T) {
	f := start(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	address, ended := f.run(ctx)
	type answer struct {
		status int
		body   string
	}
	answers := make(chan answer, 2)
	post := func(body string) {
		reply, err := http.Post("http://"+address+"/v1/images/generations", "application/json", strings.NewReader(body))
		if err != nil {
			answers <- answer{0, err.Error()}
			return
		}
		defer reply.Body.Close()
		text, _ := io.ReadAll(reply.Body)
		answers <- answer{reply.StatusCode, string(text)}
	}
	go post(`{"prompt": "` + fake.Slow + `", "steps": 40, "size": "64x64"}`)
	require.Eventually(t, func() bool { return f.object(200, "GET", "/api/v1/status", nil)["running"] == 1.0 }, 10*time.Second, time.Millisecond)
	go post(`{"prompt": "waits", "size": "64x64"}`)
	require.Eventually(t, func() bool { return f.object(200, "GET", "/api/v1/status", nil)["waiting"] == 1.0 }, 10*time.Second, time.Millisecond)
	cancel()
	require.Eventually(t, func() bool { reply, _ := f.do("GET", "/readyz", nil); return reply.StatusCode == 503 }, 10*time.Second, time.Millisecond)
	f.object(503, "POST", "/v1/images/generations", `{"prompt": "late", "size": "64x64"}`)
	first, second := <-answers, <-answers
	require.Equal(t, 503, first.status, "the one that waits is told at once: %s", first.body)
	require.Contains(t, first.body, "shutting_down")
	require.Equal(t, 200, second.status, second.body)
	require.Contains(t, second.body, "b64_json")
	require.NoError(t, <-ended)
	require.Empty(t, children(t), "no worker is left")
}

// Many clients at once, of both interfaces: nothing is lost, progress is told at once,
// and the server's memory stays. SDGO_TEST_SOAK=5m does it for so long.
func TestManyClients(t *testing.T) {
	f := start(t, func(c *Config) {
		c.Pool.Batch = 8
		c.Queue.KeepJobs = 500
	})
	const clients, each = 64, 4
	long, err := time.ParseDuration(cmp.Or(os.Getenv("SDGO_TEST_SOAK"), "0s"))
	require.NoError(t, err)
	deadline := time.Now().Add(long)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var all sync.WaitGroup
	var mutex sync.Mutex
	d := newDelays(t)
	failed := map[string]int{}
	for i := range clients {
		all.Go(func() {
			for n := 0; n < each || time.Now().Before(deadline); n++ {
				path, body := "/sdapi/v1/txt2img", `{"prompt": "x", "steps": 2, "width": 64, "height": 64}`
				if (i+n)%2 == 0 {
					path, body = "/v1/images/generations", `{"prompt": "x", "steps": 2, "size": "64x64"}`
				}
				reply, err := http.Post(f.web.URL+path, "application/json", strings.NewReader(body))
				problem := ""
				if err != nil {
					problem = err.Error()
				} else {
					text, err := io.ReadAll(reply.Body)
					reply.Body.Close()
					if err != nil || reply.StatusCode != 200 {
						problem = fmt.Sprint(reply.StatusCode, err, string(text))
					}
				}
				d.ask(f.web.URL + "/sdapi/v1/progress?skip_current_image=true")
				mutex.Lock()
				if problem != "" {
					failed[problem]++
				}
				mutex.Unlock()
			}
		})
	}
	all.Wait()
	require.Empty(t, failed)
	require.GreaterOrEqual(t, len(d.answers), clients*each)
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("heap %d MB, before %d MB", after.HeapAlloc>>20, before.HeapAlloc>>20)
	d.require(50 * time.Millisecond)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(64<<20))
}

// A request takes less than 5 ms of the processor's time, the client's part and that of
// encoding the reply among them.
func TestOverhead(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures the code without instruments")
	}
	f := start(t, nil)
	const n = 100
	body := `{"prompt": "x", "steps": 1, "size": "64x64"}`
	f.object(200, "POST", "/v1/images/generations", body) // the model is open
	spent := func() time.Duration {
		var u syscall.Rusage
		require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := spent()
	for range n {
		f.object(200, "POST", "/v1/images/generations", body)
	}
	each := (spent() - before) / n
	t.Logf("%v a request", each)
	require.Less(t, each, 5*time.Millisecond)
}

func BenchmarkOverhead(b *testing.B) {
	f := start(b, nil)
	for b.Loop() {
		reply, err := http.Post(f.web.URL+"/v1/images/generations", "application/json", strings.NewReader(`{"prompt": "x", "steps": 1, "size": "64x64"}`))
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, reply.Body)
		reply.Body.Close()
	}
}
