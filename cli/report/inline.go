package report

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/png"
	"io"
	"strings"
)

// Protocol is a way to show pictures on a terminal.
type Protocol string

const (
	Kitty  Protocol = "kitty"  // sw.kovidgoyal.net/kitty/graphics-protocol
	ITerm2 Protocol = "iTerm2" // iterm2.com/documentation-images.html
)

// TerminalProtocol finds out from the environment how the terminal shows pictures;
// "" is not at all.
func TerminalProtocol(getenv func(string) string) Protocol {
	program := getenv("TERM_PROGRAM")
	switch {
	case getenv("TMUX") != "" || strings.HasPrefix(getenv("TERM"), "screen"):
		return "" // these keep such sequences to themselves
	case getenv("KITTY_WINDOW_ID") != "" || getenv("TERM") == "xterm-kitty" || getenv("TERM") == "xterm-ghostty" || program == "ghostty":
		return Kitty
	case program == "iTerm.app" || program == "WezTerm" || getenv("LC_TERMINAL") == "iTerm2":
		return ITerm2
	}
	return ""
}

// inlineRows is the height of a picture on a terminal, in lines.
const inlineRows = 14

// Inline shows a picture below the line of progress on a terminal.
type Inline struct {
	w        io.Writer
	protocol Protocol
	shown    bool
}

// NewInline shows pictures on the terminal w.
func NewInline(w io.Writer, protocol Protocol) *Inline {
	return &Inline{w: w, protocol: protocol}
}

// Show replaces the picture. The cursor stays where it is.
func (t *Inline) Show(img *image.NRGBA) error {
	var file bytes.Buffer
	if err := png.Encode(&file, img); err != nil {
		return err
	}
	var b bytes.Buffer
	if !t.shown { // make room, which may scroll
		b.WriteString(strings.Repeat("\n", inlineRows+1) + fmt.Sprintf("\x1b[%dA", inlineRows+1))
		t.shown = true
	}
	b.WriteString("\x1b7\x1b[1B\r") // save the cursor, go to the line below
	data := base64.StdEncoding.EncodeToString(file.Bytes())
	if t.protocol == ITerm2 {
		fmt.Fprintf(&b, "\x1b]1337;File=inline=1;size=%d;height=%d;preserveAspectRatio=1:%s\a", file.Len(), inlineRows, data)
	} else {
		head := fmt.Sprintf("a=T,f=100,i=1,p=1,q=2,C=1,r=%d,", inlineRows)
		for more := 1; more == 1; head = "" {
			part := data[:min(4096, len(data))]
			if data = data[len(part):]; data == "" {
				more = 0
			}
			fmt.Fprintf(&b, "\x1b_G%sm=%d;%s\x1b\\", head, more, part)
		}
	}
	b.WriteString("\x1b8")
	_, err := t.w.Write(b.Bytes())
	return err
}

// Clear takes the picture away, and all that is below the cursor.
func (t *Inline) Clear() {
	if !t.shown {
		return
	}
	t.shown = false
	if t.protocol == Kitty {
		fmt.Fprint(t.w, "\x1b_Ga=d,d=I,i=1,q=2\x1b\\")
	}
	fmt.Fprint(t.w, "\x1b[J")
}
