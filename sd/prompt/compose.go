package prompt

import (
	"math"
	"strconv"
	"strings"
	"unicode"
)

// maxParts bounds the prompts that AND joins: each is another answer of the denoiser in every step.
const maxParts = 32

// Part is one of the prompts that a prompt is composed of.
type Part struct {
	Text   string // for Schedule
	Weight float64
}

// Compose splits a prompt at each word AND into the prompts that composable diffusion combines (Liu et al. 2022,
// arXiv:2206.01714). A colon and a number at the end of one, as in "a cat :0.7", are its weight; else it is 1. So they are
// at the end of a prompt without AND. There is at least one part; that of a prompt with neither is the prompt as it is.
//
// As in the reference (get_multicond_prompt_list), the split comes before everything else: brackets do not hold an AND
// together. Tags count as removed; they go to the first part. Errors are *LimitError, beyond MaxLength and for more than
// 32 parts, and *WeightError.
func Compose(text string) ([]Part, error) {
	if err := checkLength(text); err != nil {
		return nil, err
	}
	rest, tags := takeTags(text)
	texts := splitAtAND(rest)
	if len(texts) > maxParts {
		return nil, &LimitError{What: "prompts joined by AND", Got: len(texts), Max: maxParts}
	}
	parts := make([]Part, len(texts))
	for i, t := range texts {
		before, number := trailingWeight(t)
		parts[i] = Part{t, 1}
		if number == "" {
			continue
		}
		weight, err := strconv.ParseFloat(number, 64)
		if err != nil || math.Abs(weight) > math.MaxFloat32 {
			return nil, &WeightError{Text: number, Reason: "not a finite number"}
		}
		parts[i] = Part{before, weight}
	}
	if len(parts) == 1 && parts[0].Weight == 1 && parts[0].Text == rest {
		return []Part{{text, 1}}, nil
	}
	for _, tag := range tags {
		parts[0].Text += tag.String()
	}
	return parts, nil
}

// splitAtAND splits text at each AND that is a word of its own, at most into one text more than there may be.
func splitAtAND(text string) (out []string) {
	const and = "AND"
	for at := 0; len(out) < maxParts; {
		i := strings.Index(text[at:], and)
		if i < 0 {
			break
		}
		begin, end := at+i, at+i+len(and)
		at = end
		if endsInWord(text[:begin]) || startsWithWord(text[end:]) {
			continue
		}
		out = append(out, text[:begin])
		text, at = text[end:], 0
	}
	return append(out, text)
}

// trailingWeight matches \s*:\s*([-+]?(\d+\.?|\d*\.\d+))\s* at the end of text and returns what is before it and the
// number, "" if there is none.
func trailingWeight(text string) (before, number string) {
	trimmed := strings.TrimRightFunc(text, unicode.IsSpace)
	start := len(strings.TrimRight(trimmed, ".0123456789"))
	digits := trimmed[start:]
	if strings.Count(digits, ".") > 1 || strings.Trim(digits, ".") == "" {
		return text, ""
	}
	if start > 0 && (trimmed[start-1] == '-' || trimmed[start-1] == '+') {
		start--
	}
	colon := strings.TrimRightFunc(trimmed[:start], unicode.IsSpace)
	if !strings.HasSuffix(colon, ":") {
		return text, ""
	}
	return strings.TrimRightFunc(colon[:len(colon)-1], unicode.IsSpace), trimmed[start:]
}
