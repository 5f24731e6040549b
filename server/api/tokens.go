package api

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/tokenizer"
	"github.com/sdgo/sdgo/server/catalog"
	"github.com/sdgo/sdgo/server/reply"
	"github.com/sdgo/sdgo/server/service"
)

// tokensView is how long a prompt is, in the words of the model's tokenizer.
type tokensView struct {
	Tokens int `json:"tokens"` // without start, end and padding
	Chunks int `json:"chunks"` // that the text encoder reads one by one
	Chunk  int `json:"chunk"`  // tokens of a chunk
}

// tokens counts the tokens of a prompt: those of its longest part, where AND composes
// it or it changes from step to step.
func tokens(a *API, w http.ResponseWriter, r *http.Request) {
	text, model, err := tokensBody(r)
	if err != nil {
		fail(w, err)
		return
	}
	e, err := a.service.Model(client(r), model)
	if err != nil {
		fail(w, err)
		return
	}
	if e.Transformer {
		fail(w, service.Errorf(http.StatusBadRequest, "not_counted", "the model %q reads prompts in another way than CLIP's text encoders: their tokens are not counted", e.Name))
		return
	}
	t := e.Tokenizer
	if t == nil {
		t = tokenizer.CLIP()
	}
	v, err := countTokens(text, t, wordsOf(a, e, text, t))
	if err != nil {
		fail(w, service.Errorf(http.StatusBadRequest, "invalid_request", "text: %v", err))
		return
	}
	reply.JSON(w, http.StatusOK, v)
}

// wordsOf are the textual inversions of a text that a model can use, in both ways to write
// each.
func wordsOf(a *API, e catalog.Entry, text string, t prompt.Tokenizer) (all []prompt.Word) {
	for _, w := range a.service.Mentioned(text) {
		if w.Word.Fits(e) {
			for _, prefix := range []string{"embedding:", ""} {
				all = append(all, prompt.Word{Tokens: t.Encode(prefix + w.WordOf()), Length: w.Word.Vectors})
			}
		}
	}
	return all
}

// tokensBody reads {"text": "…", "model": "…"}.
func tokensBody(r *http.Request) (text, model string, err error) {
	data, err := reply.Body(r)
	if err != nil {
		return "", "", err
	}
	members, err := job.Members(data)
	if err != nil {
		return "", "", err
	}
	for _, m := range members {
		to := map[string]*string{"text": &text, "model": &model}[m.Key]
		switch {
		case to == nil:
			return "", "", service.Errorf(http.StatusBadRequest, "invalid_request", "%.80s: unknown field; there are text and model", m.Key)
		case string(m.Value) == "null":
		case json.Unmarshal(m.Value, to) != nil:
			return "", "", errors.New(m.Key + ": must be a text")
		}
	}
	return text, model, nil
}

// countTokens counts what the text encoder reads of a prompt.
func countTokens(text string, t prompt.Tokenizer, words []prompt.Word) (tokensView, error) {
	v := tokensView{Chunks: 1, Chunk: prompt.Content}
	parts, err := prompt.Compose(text)
	if err != nil {
		return v, err
	}
	for _, part := range parts {
		entries, err := prompt.Schedule(part.Text, countedSteps)
		if err != nil {
			return v, err
		}
		for _, e := range entries {
			if err := v.add(e.Text, t, words); err != nil {
				return v, err
			}
		}
	}
	return v, nil
}

// countedSteps are those of prompts that change; a usual number finds all their texts.
const countedSteps = 20

// add counts a text without changes.
func (v *tokensView) add(text string, t prompt.Tokenizer, words []prompt.Word) error {
	segments, _, err := prompt.Parse(text)
	if err != nil {
		return err
	}
	chunks, err := prompt.Chunks(segments, t, prompt.Options{Pad: t.EOS(), Words: words})
	if err != nil {
		return err
	}
	n := 0
	for _, s := range segments {
		if !s.Break {
			n += len(t.Encode(s.Text))
		}
	}
	for _, c := range chunks { // a word has as many places as vectors
		for _, p := range c.Places {
			if n++; p.Vector == 0 {
				n -= len(words[p.Word].Tokens)
			}
		}
	}
	v.Tokens, v.Chunks = max(v.Tokens, n), max(v.Chunks, len(chunks))
	return nil
}
