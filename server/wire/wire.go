// Package wire is the protocol between the server and its workers: messages over a
// pipe, each a JSON object and any number of binary parts, such as pictures.
//
// A message is framed as the length of the JSON (4 bytes, big endian), the number of
// parts (4 bytes), the length of each part (4 bytes each), the JSON and the parts.
// Lengths are checked before memory is taken for them.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Bounds of a message.
const (
	MaxJSON  = 32 << 20 // bytes
	MaxParts = 64
	MaxBytes = 1 << 30 // of all parts
)

// Kind says what a message is.
type Kind string

// What the server sends.
const (
	Open   Kind = "open"   // the first message: which model to open
	Draw   Kind = "draw"   // a picture to generate
	Cancel Kind = "cancel" // stop a picture
)

// What a worker sends.
const (
	Ready    Kind = "ready"    // the model is open
	Alive    Kind = "alive"    // sent every few seconds, whatever the worker computes
	Progress Kind = "progress" // of a picture
	Draft    Kind = "draft"    // the picture before a hires pass: one part
	Done     Kind = "done"     // a picture is finished: one part
	Failed   Kind = "failed"   // a picture, or without a task the model, is not possible
	Warning  Kind = "warning"  // something happened differently than asked
)

// Message is a message of either side. Fields that a kind does not use are empty.
type Message struct {
	Kind Kind   `json:"kind"`
	Task string `json:"task,omitempty"` // which picture

	Model    *Model   `json:"model,omitempty"`    // Open
	Work     *Work    `json:"work,omitempty"`     // Draw
	Info     *Info    `json:"info,omitempty"`     // Ready
	Progress *Step    `json:"progress,omitempty"` // Progress; its part is a preview as PNG, if any
	Picture  *Picture `json:"picture,omitempty"`  // Done, Draft
	Error    *Error   `json:"error,omitempty"`    // Failed
	Text     string   `json:"text,omitempty"`     // Warning
	Resident uint64   `json:"resident,omitempty"` // Alive: the most memory that the process has had, in bytes; 0 if unknown
	Parts    [][]byte `json:"-"`
}

// Roles of models.
const (
	RoleModel     = "model"
	RoleRefiner   = "refiner"
	RoleStage     = "stage" // enlarges what another model has drawn
	RoleTAESD     = "taesd"
	RoleESRGAN    = "esrgan"
	RoleLoRA      = "lora"
	RoleControl   = "control" // a ControlNet, a T2I-Adapter or an IP-Adapter
	RoleEmbedding = "embedding"

	RoleClassifier = "classifier" // of noisy pictures, which guides a model
)

// Model is a file to open.
type Model struct {
	Role string `json:"role"`
	Path string `json:"path"`          // "" is the built-in model
	Name string `json:"name"`          // as requests name it
	VAE  string `json:"vae,omitempty"` // a file whose autoencoder is in place of the model's own
	Hash string `json:"hash,omitempty"`

	// Files of the text encoders of a model whose own file has none.
	CLIPL       string `json:"clip_l,omitempty"`
	CLIPG       string `json:"clip_g,omitempty"`
	T5          string `json:"t5xxl,omitempty"`
	T5Tokenizer string `json:"t5_tokenizer,omitempty"`
	LLM         string `json:"llm,omitempty"`

	// CLIPVision is the file of the image encoder by which an IP-Adapter sees pictures.
	CLIPVision string `json:"clip_vision,omitempty"`

	// Modified tells versions of a file apart, in nanoseconds: an adapter that has
	// changed is opened anew.
	Modified int64 `json:"modified,omitempty"`
}

// IsExtra reports whether the file is one that each request has its own of: an adapter, a
// textual inversion, a ControlNet or a classifier. Other networks are attached to the model
// once.
func (m Model) IsExtra() bool {
	return m.Role == RoleLoRA || m.Role == RoleEmbedding || m.Role == RoleControl || m.Role == RoleClassifier
}

// Work is what to do for one picture.
type Work struct {
	// Request is a request of one picture, as package job encodes it, without its
	// pictures: the init image, the mask, the ControlNets' and the guides' are parts, in this
	// order, as the sizes say.
	Request  json.RawMessage `json:"request,omitempty"`
	Image    *Size           `json:"image,omitempty"`
	Mask     *Size           `json:"mask,omitempty"`
	Controls []*Size         `json:"controls,omitempty"` // of each ControlNet of the request; null is one that sees the init image
	Faces    [][]float32     `json:"faces,omitempty"`    // the vector of each ControlNet's face; null is none
	Guides   []Guide         `json:"guides,omitempty"`   // the pictures of each guide of the request
	Attach   []Model         `json:"attach,omitempty"`   // networks, adapters and textual inversions that the request names
	Upscale  *Size           `json:"upscale,omitempty"`  // in place of a request: the size of the upscaled Image
	Priority int             `json:"priority,omitempty"`
	Output   Output          `json:"output"`
}

// Size is that of a picture whose pixels are a part: NRGBA, four bytes each, or of a
// mask one byte each.
type Size struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

// Guide has the sizes of a guide's pictures, whose parts follow one another; null is none.
type Guide struct {
	Image *Size `json:"image,omitempty"`
	Of    *Size `json:"of,omitempty"`
}

// Output says how a picture is encoded.
type Output struct {
	Format  string `json:"format,omitempty"` // png, jpeg or webp; "" is png
	Quality int    `json:"quality,omitempty"`
	Bare    bool   `json:"bare,omitempty"` // without the parameters
	Text    string `json:"text,omitempty"` // parameters of an upscaled picture
}

// Info describes an open model.
type Info struct {
	Name       string  `json:"name"`
	NativeSize int     `json:"native_size,omitempty"`
	Threads    int     `json:"threads,omitempty"`
	Scale      int     `json:"scale,omitempty"` // of an upscaler
	Seconds    float64 `json:"seconds"`         // that opening took
}

// Step is how far a picture is: step Index (from 1) of Of of a stage.
type Step struct {
	Stage string  `json:"stage"`
	Pass  int     `json:"pass,omitempty"`
	Index int     `json:"index"`
	Of    int     `json:"of"`
	Took  float64 `json:"took,omitempty"` // seconds since the stage began
}

// Picture is a finished picture, whose file is the message's part.
type Picture struct {
	Format  string          `json:"format"`
	Width   int             `json:"width"`
	Height  int             `json:"height"`
	Seed    uint64          `json:"seed"`
	Text    string          `json:"text"`              // generation parameters
	Request json.RawMessage `json:"request,omitempty"` // the same as JSON
}

// Codes of errors.
const (
	CodeInvalid = "invalid_request" // the request is not possible
	CodeMemory  = "out_of_memory"
	CodeBusy    = "busy"
	CodeModel   = "model_failed" // the model cannot be opened
	CodeFailed  = "failed"
	CodeCancel  = "cancelled"
)

// Error says why something failed.
type Error struct {
	Code     string    `json:"code"`
	Message  string    `json:"message"`
	Problems []Problem `json:"problems,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// Problem is an invalid field of a request, by its name in sd.Request.
type Problem struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// ErrTooLarge is the error of a message that is not sent.
var ErrTooLarge = errors.New("the message is too large")

// Writer writes messages; its methods may be called from any goroutine.
type Writer struct {
	mutex sync.Mutex
	w     io.Writer
}

// NewWriter writes to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes a message.
func (w *Writer) Write(m Message) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	total := 0
	head := binary.BigEndian.AppendUint32(nil, uint32(len(text)))
	head = binary.BigEndian.AppendUint32(head, uint32(len(m.Parts)))
	for _, p := range m.Parts {
		total += len(p)
		head = binary.BigEndian.AppendUint32(head, uint32(len(p)))
	}
	if len(text) > MaxJSON || len(m.Parts) > MaxParts || total > MaxBytes {
		return fmt.Errorf("%w: it must be at most %d bytes of JSON and %d bytes in %d parts, got %d and %d in %d", ErrTooLarge, MaxJSON, MaxBytes, MaxParts, len(text), total, len(m.Parts))
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for _, b := range append([][]byte{append(head, text...)}, m.Parts...) {
		if _, err := w.w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// Read reads a message. The error is io.EOF where the stream ends between messages.
func Read(r io.Reader) (m Message, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return m, err
	}
	size, parts := binary.BigEndian.Uint32(head[:4]), binary.BigEndian.Uint32(head[4:])
	if size > MaxJSON || parts > MaxParts {
		return m, fmt.Errorf("a message of %d bytes of JSON and %d parts; at most %d and %d are possible", size, parts, MaxJSON, MaxParts)
	}
	lengths := make([]byte, 4*parts)
	if _, err := io.ReadFull(r, lengths); err != nil {
		return m, short(err)
	}
	total := 0
	for i := range int(parts) {
		total += int(binary.BigEndian.Uint32(lengths[4*i:]))
	}
	if total > MaxBytes {
		return m, fmt.Errorf("a message with %d bytes in parts; at most %d are possible", total, MaxBytes)
	}
	text, err := readN(r, int(size))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return Message{}, fmt.Errorf("a message that is not JSON: %w", err)
	}
	for i := range int(parts) {
		b, err := readN(r, int(binary.BigEndian.Uint32(lengths[4*i:])))
		if err != nil {
			return Message{}, err
		}
		m.Parts = append(m.Parts, b)
	}
	return m, nil
}

// readN reads n bytes, and takes memory for them as they come.
func readN(r io.Reader, n int) ([]byte, error) {
	const chunk = 1 << 20
	out := make([]byte, 0, min(n, chunk))
	for len(out) < n {
		at, more := len(out), min(n-len(out), max(chunk, len(out)))
		out = append(out, make([]byte, more)...)
		if _, err := io.ReadFull(r, out[at:]); err != nil {
			return nil, short(err)
		}
	}
	return out, nil
}

// short is the error of a stream that ends within a message.
func short(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
