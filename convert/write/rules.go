package write

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/model"
)

// Rule gives tensors a type by their names.
type Rule struct {
	// Pattern is searched for in a tensor's canonical name, and in the same name
	// with "vae.", "unet.", "text.", "text2." or "t5." in place of the prefix.
	Pattern *regexp.Regexp
	Type    dtype.Type
}

// String is the rule as [ParseRule] reads it.
func (r Rule) String() string { return fmt.Sprintf("%s=%s", r.Pattern, r.Type) }

// maxPattern bounds a rule's pattern, in bytes.
const maxPattern = 1000

// ParseRule reads a rule such as "vae\\..*=f16".
func ParseRule(s string) (Rule, error) {
	at := strings.LastIndexByte(s, '=')
	if at < 1 {
		return Rule{}, fmt.Errorf("rule %q must be PATTERN=TYPE, such as vae=f16", s)
	}
	if at > maxPattern {
		return Rule{}, fmt.Errorf("rule %.40q…: its pattern must be at most %d bytes, got %d", s, maxPattern, at)
	}
	pattern, err := regexp.Compile(s[:at])
	if err != nil {
		return Rule{}, fmt.Errorf("rule %q: %w", s, err)
	}
	t, err := dtype.Parse(s[at+1:])
	if err != nil {
		return Rule{}, fmt.Errorf("rule %q: %w", s, err)
	}
	return Rule{pattern, t}, nil
}

// shortNames are the networks' names in rules.
var shortNames = []struct{ prefix, short string }{
	{model.VAEPrefix, "vae."}, {model.UNetPrefix, "unet."},
	{model.TextPrefix, "text."}, {model.Text1Prefix, "text."}, {model.Text2Prefix, "text2."},
	{model.CLIPLPrefix, "text."}, {model.CLIPGPrefix, "text2."}, {model.T5Prefix, "t5."},
	{model.Qwen4BPrefix, "llm."}, {model.Qwen8BPrefix, "llm."}, {model.QwenVLPrefix, "llm."},
}

func (r Rule) matches(name string) bool {
	if r.Pattern.MatchString(name) {
		return true
	}
	for _, s := range shortNames {
		if rest, ok := strings.CutPrefix(name, s.prefix); ok {
			return r.Pattern.MatchString(s.short + rest)
		}
	}
	return false
}
