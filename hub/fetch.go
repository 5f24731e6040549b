package hub

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Options say how files are fetched. Zero values are the defaults.
type Options struct {
	Hub      string // whose server gets the token; "" is [Address]
	Token    string // of the hub, for files that ask for one
	Force    bool   // replaces a file that is there
	Progress func(done, total int64)

	Tries int           // in a row without a byte; 0 means 5
	Pause time.Duration // before the second one, which doubles; 0 means a second
	Stall time.Duration // without a byte, after which it is tried again; 0 means a minute
}

// Result says what was fetched.
type Result struct {
	Path    string
	Bytes   int64
	SHA256  string
	Checked bool // against a hash that was known before
	Already bool // it was there
	Resumed int64
}

// Errors of [Fetch].
var (
	ErrExists  = errors.New("the file is there already")
	ErrBusy    = errors.New("another program is fetching this file")
	ErrPointer = errors.New("it is a Git LFS pointer, and not the file")
)

// Fetch fetches a file into a folder. What was fetched stays there as NAME.part if it
// ends early, and the next call goes on from there, provided that the server's file is
// still the same. The file appears when it is complete and its size and hash are right.
func Fetch(ctx context.Context, f File, folder string, o Options) (Result, error) {
	o.Hub, o.Tries, o.Pause, o.Stall = cmp.Or(o.Hub, Address), cmp.Or(o.Tries, 5), cmp.Or(o.Pause, time.Second), cmp.Or(o.Stall, time.Minute)
	if err := checkName(f.Name); err != nil {
		return Result{}, err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return Result{}, err
	}
	d := &download{File: f, o: o, to: filepath.Join(folder, f.Name)}
	if done, ok, err := d.there(ctx); ok || err != nil {
		return done, err
	}
	if err := d.open(ctx); err != nil {
		return Result{}, err
	}
	defer d.part.Close()
	if err := d.all(ctx); err != nil {
		return Result{}, err
	}
	return d.finish()
}

// download is a file that is being fetched.
type download struct {
	File
	o       Options
	to      string
	part    *os.File
	state   state
	sum     hash.Hash
	done    int64 // bytes in the part
	total   int64 // 0 if unknown
	resumed int64
}

// state is what is known of a part.
type state struct {
	URL  string `json:"url"`
	ETag string `json:"etag"` // of the server's file
}

// there looks at the file that has the name; it is true if it is the one.
func (d *download) there(ctx context.Context) (r Result, ok bool, err error) {
	info, err := os.Stat(d.to)
	if errors.Is(err, fs.ErrNotExist) || err == nil && d.o.Force {
		return r, false, nil
	}
	if err != nil {
		return r, false, err
	}
	if d.SHA256 == "" {
		return r, false, fmt.Errorf("%s: %w; --force fetches it again", d.to, ErrExists)
	}
	file, err := os.Open(d.to)
	if err != nil {
		return r, false, err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, reader{ctx, file}); err != nil {
		return r, false, err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != d.SHA256 {
		return r, false, fmt.Errorf("%s: %w, with another SHA-256 (%s in place of %s); --force replaces it", d.to, ErrExists, got, d.SHA256)
	}
	return Result{Path: d.to, Bytes: info.Size(), SHA256: d.SHA256, Checked: true, Already: true}, true, nil
}

// reader stops when ctx is done.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// open opens the part, which another program may be writing.
func (d *download) open(ctx context.Context) (err error) {
	if d.part, err = os.OpenFile(d.to+".part", os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return err
	}
	if !lock(d.part) {
		d.part.Close()
		return fmt.Errorf("%s: %w", d.to, ErrBusy)
	}
	d.sum = sha256.New()
	text, err := os.ReadFile(d.stateFile())
	if err == nil && json.Unmarshal(text, &d.state) == nil && d.state.URL == d.URL && d.state.ETag != "" {
		if d.done, err = io.Copy(d.sum, reader{ctx, d.part}); err != nil {
			d.part.Close()
			return err
		}
		d.resumed = d.done
		return nil
	}
	return d.restart("")
}

func (d *download) stateFile() string { return d.to + ".part.json" }

// restart forgets what was fetched. etag is the file's that comes now.
func (d *download) restart(etag string) error {
	d.done, d.resumed = 0, 0
	d.sum.Reset()
	d.state = state{d.URL, etag}
	text, err := json.Marshal(d.state)
	if err != nil {
		return err
	}
	return errors.Join(d.part.Truncate(0), seek(d.part), os.WriteFile(d.stateFile(), text, 0o666))
}

func seek(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// again is an error after which it may go better.
type again struct {
	error
	after time.Duration
}

// all fetches until everything is there.
func (d *download) all(ctx context.Context) error {
	pause, most := d.o.Pause, d.done // beginning anew is no progress
	for tries := 1; ; tries++ {
		err := d.once(ctx)
		var later *again
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.As(err, &later):
			return err
		}
		if d.done > most {
			tries, pause, most = 1, d.o.Pause, d.done
		}
		if tries >= d.o.Tries {
			return fmt.Errorf("%w (tried %d times; the next call goes on from %d bytes)", later.error, tries, d.done)
		}
		select {
		case <-time.After(max(pause, later.after)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		pause = min(2*pause, 30*time.Second)
	}
}

// maxRedirects bounds those of one request.
const maxRedirects = 10

// client follows redirects, none of which may be unencrypted, and remembers what the
// hub says of the file. The standard library sends the token to no other host.
func (d *download) client(linked *http.Header) *http.Client {
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	return &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSHandshakeTimeout: 30 * time.Second, ResponseHeaderTimeout: d.o.Stall, DisableCompression: true},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("more than %d redirects", maxRedirects)
			}
			if r.Response != nil && r.Response.Header.Get("X-Linked-Etag") != "" {
				*linked = r.Response.Header
			}
			return checkURL(r.URL)
		},
	}
}

// once sends one request and takes what comes.
func (d *download) once(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.URL, nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "sdgo")
	if d.o.Token != "" && hostOf(d.URL) == hostOf(d.o.Hub) {
		r.Header.Set("Authorization", "Bearer "+d.o.Token)
	}
	if d.done > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.done))
		r.Header.Set("If-Range", d.state.ETag)
	}
	var linked http.Header
	client := d.client(&linked)
	defer client.CloseIdleConnections()
	reply, err := client.Do(r)
	if err != nil {
		return d.network(err)
	}
	defer reply.Body.Close()
	if linked == nil {
		linked = reply.Header
	}
	begin, err := d.begin(reply, linked)
	if err != nil || !begin {
		return err
	}
	watch := time.AfterFunc(d.o.Stall, func() { cancel(errors.New("nothing came for " + d.o.Stall.String())) })
	defer watch.Stop()
	return d.copy(reply.Body, func() { watch.Reset(d.o.Stall) })
}

// network sorts errors of connections.
func (d *download) network(err error) error {
	var wrong *net.DNSError
	if errors.As(err, &wrong) && wrong.IsNotFound {
		return fmt.Errorf("cannot be fetched: there is no host %s", wrong.Name)
	}
	for _, text := range []string{"must be an https address", "redirects", "certificate"} {
		if strings.Contains(err.Error(), text) {
			return fmt.Errorf("cannot be fetched: %w", err)
		}
	}
	return &again{error: fmt.Errorf("cannot be fetched: %w", err)}
}

// begin looks at the beginning of a reply; it is false if there is nothing more to take.
func (d *download) begin(reply *http.Response, linked http.Header) (bool, error) {
	switch reply.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
	case http.StatusRequestedRangeNotSatisfiable:
		if _, total, ok := contentRange(reply.Header.Get("Content-Range")); ok && total == d.done && d.done > 0 {
			d.total = total
			return false, d.expect(linked)
		}
		return false, errors.Join(d.restart(""), &again{error: errors.New("the server's file has another size than before")})
	default:
		return false, d.refused(reply)
	}
	if strings.HasPrefix(reply.Header.Get("Content-Type"), "text/html") {
		return false, fmt.Errorf("%s is a web page, and not a model", d.URL)
	}
	etag := reply.Header.Get("ETag")
	if strings.HasPrefix(etag, "W/") {
		etag = "" // of a file that is only about the same
	}
	if reply.StatusCode == http.StatusPartialContent {
		begin, total, ok := contentRange(reply.Header.Get("Content-Range"))
		if !ok || begin != d.done || etag != "" && etag != d.state.ETag {
			return false, errors.Join(d.restart(""), &again{error: errors.New("the server sends another part than it was asked for")})
		}
		d.total = total
		return true, d.expect(linked)
	}
	if err := d.restart(etag); err != nil {
		return false, err
	}
	d.total = max(0, reply.ContentLength)
	return true, d.expect(linked)
}

// contentRange reads "bytes 5-9/10" and "bytes */10".
func contentRange(text string) (begin, total int64, ok bool) {
	span, of, found := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	total, err := strconv.ParseInt(of, 10, 64)
	if !found || err != nil || total < 0 {
		return 0, 0, false
	}
	if span == "*" {
		return 0, total, true
	}
	first, _, _ := strings.Cut(span, "-")
	begin, err = strconv.ParseInt(first, 10, 64)
	return begin, total, err == nil
}

// expect compares what the hub says of the file with what is known, and takes its word
// for what is not.
func (d *download) expect(linked http.Header) error {
	if n, err := strconv.ParseInt(linked.Get("X-Linked-Size"), 10, 64); err == nil && n > 0 {
		if d.total > 0 && d.total != n {
			return fmt.Errorf("the hub says that the file has %d bytes, the server that it has %d", n, d.total)
		}
		d.total = n
	}
	if d.Bytes > 0 && d.total > 0 && d.Bytes != d.total {
		return fmt.Errorf("the file must have %d bytes, and the server's has %d", d.Bytes, d.total)
	}
	d.total = cmp.Or(d.total, d.Bytes)
	sum := strings.ToLower(strings.Trim(linked.Get("X-Linked-Etag"), `"`))
	if b, err := hex.DecodeString(sum); err != nil || len(b) != sha256.Size {
		return nil
	}
	if d.SHA256 != "" && d.SHA256 != sum {
		return fmt.Errorf("the file's SHA-256 must be %s, and the hub's is %s", d.SHA256, sum)
	}
	d.SHA256 = sum
	return nil
}

// refused is the error of a status.
func (d *download) refused(reply *http.Response) error {
	status := reply.StatusCode
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		if d.o.Token == "" {
			return fmt.Errorf("%s: the server asks who you are (status %d); accept the model's terms on its page, and give the hub's token in the variable HF_TOKEN", d.URL, status)
		}
		return fmt.Errorf("%s: the server refuses the token (status %d); accept the model's terms on its page, or use another token", d.URL, status)
	case status == http.StatusNotFound || status == http.StatusGone:
		return fmt.Errorf("%s: there is no such file (status %d)", d.URL, status)
	case status == http.StatusTooManyRequests || status >= 500:
		seconds, err := strconv.Atoi(reply.Header.Get("Retry-After"))
		if err != nil {
			seconds = 0
		}
		return &again{fmt.Errorf("%s: the server cannot answer now (status %d)", d.URL, status), time.Duration(min(max(seconds, 0), 60)) * time.Second}
	}
	return fmt.Errorf("%s: status %d", d.URL, status)
}

// copy takes the bytes that come.
func (d *download) copy(from io.Reader, came func()) error {
	buffer := make([]byte, 256<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			came()
			if d.total > 0 && d.done+int64(n) > d.total {
				return errors.Join(d.restart(""), fmt.Errorf("the server sends more than the file's %d bytes", d.total))
			}
			if _, err := d.part.Write(buffer[:n]); err != nil {
				return writing(err)
			}
			d.sum.Write(buffer[:n])
			d.done += int64(n)
			if d.o.Progress != nil {
				d.o.Progress(d.done, d.total)
			}
		}
		if errors.Is(err, io.EOF) && (d.total == 0 || d.done == d.total) {
			return nil
		}
		if err != nil {
			return &again{error: fmt.Errorf("the connection broke after %d of %d bytes: %w", d.done, d.total, err)}
		}
	}
}

func writing(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("the disk is full; what was fetched stays, and the next call goes on from there: %w", err)
	}
	return err
}

// pointer is how the file that stands for a large one in a Git repository begins.
const pointer = "version https://git-lfs.github.com/spec/"

// finish checks the complete file and gives it its name.
func (d *download) finish() (Result, error) {
	head := make([]byte, len(pointer))
	if n, err := d.part.ReadAt(head, 0); n == len(head) && err == nil && string(head) == pointer && d.done < 1024 {
		return Result{}, errors.Join(d.forget(), fmt.Errorf("%s: %w; an address with /resolve/ has the file itself", d.URL, ErrPointer))
	}
	got := hex.EncodeToString(d.sum.Sum(nil))
	if d.SHA256 != "" && got != d.SHA256 {
		return Result{}, errors.Join(d.forget(), fmt.Errorf("%s: the file's SHA-256 must be %s, got %s; what was fetched is deleted", d.URL, d.SHA256, got))
	}
	if d.done == 0 {
		return Result{}, errors.Join(d.forget(), fmt.Errorf("%s: the file is empty", d.URL))
	}
	if err := d.part.Sync(); err != nil {
		return Result{}, writing(err)
	}
	if err := rename(d.part, d.to); err != nil {
		return Result{}, err
	}
	if err := os.Remove(d.stateFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Result{}, err
	}
	return Result{Path: d.to, Bytes: d.done, SHA256: got, Checked: d.SHA256 != "", Resumed: d.resumed}, nil
}

// forget deletes the part.
func (d *download) forget() error {
	d.part.Close()
	return errors.Join(os.Remove(d.part.Name()), os.Remove(d.stateFile()))
}
