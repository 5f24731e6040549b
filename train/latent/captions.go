package latent

import (
	"context"
	"fmt"

	"github.com/sdgo/sdgo/train/data"
	"github.com/sdgo/sdgo/train/random"
)

// CaptionOptions say what samples are trained with as their text.
type CaptionOptions struct {
	Seed    uint64
	Caption string  // of pictures without one
	Drop    float64 // share of samples whose text is nothing, so that guidance works as before
}

// dropStream is that of which captions are dropped.
const dropStream = 100

// Captions are the texts of a set, encoded by a model as it is.
type Captions struct {
	o       CaptionOptions
	set     *data.Set
	nothing Encoded
	texts   map[string]Encoded
}

// NewCaptions encodes all captions. They must fit in one chunk, so that samples of a batch
// have one shape.
func NewCaptions(ctx context.Context, m *Model, set *data.Set, o CaptionOptions) (*Captions, error) {
	if !(o.Drop >= 0 && o.Drop < 1) {
		return nil, fmt.Errorf("the share of samples without a caption must be 0 to below 1, got %g", o.Drop)
	}
	c := &Captions{o: o, set: set, texts: map[string]Encoded{}}
	var err error
	if c.nothing, err = m.Nothing(ctx); err != nil {
		return nil, err
	}
	for i, item := range set.Items {
		text := c.caption(i)
		if text == "" {
			return nil, fmt.Errorf("%s: has no caption, and there is none for all pictures", item.Path)
		}
		if _, ok := c.texts[text]; ok {
			continue
		}
		if c.texts[text], err = m.Encode(ctx, text); err != nil {
			return nil, fmt.Errorf("%s: %w", item.Path, err)
		}
	}
	return c, nil
}

func (c *Captions) caption(item int) string {
	if text := c.set.Items[item].Caption; text != "" {
		return text
	}
	return c.o.Caption
}

// Text is what a sample of an item is trained with; "" if its caption is dropped.
func (c *Captions) Text(item int, number uint64) string {
	if c.o.Drop > 0 && random.New(c.o.Seed, number, dropStream).Float64() < c.o.Drop {
		return ""
	}
	return c.caption(item)
}

// Add adds a text that is not the set's.
func (c *Captions) Add(text string, e Encoded) { c.texts[text] = e }

// Encoded is a text of the set, one that was added, or "".
func (c *Captions) Encoded(text string) Encoded {
	if text == "" {
		return c.nothing
	}
	return c.texts[text]
}
