package job

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/request"
)

// maxParameters bounds the parameters of a picture, in bytes.
const maxParameters = 8 << 20

// Unread is a setting of a picture's parameters that is in no request.
type Unread struct {
	Key   string // "" of what has none
	Value string
	Why   string // what is wrong with the value; "" of a key that is not known
}

func (u Unread) String() string {
	text := fmt.Sprintf("%.80s: %.80s", u.Key, u.Value)
	if u.Why != "" {
		text += " (" + u.Why + ")"
	}
	return strings.TrimPrefix(text, ": ")
}

// ErrNoParameters is what a picture without parameters gives.
var ErrNoParameters = errors.New("the picture does not say how it was made")

// ReadPicture reads the parameters of a picture's file, as [ReadFacts] does; those that
// are hidden in its pixels, too ([picture.ReadHidden]).
func ReadPicture(r io.Reader) (request.Params, []Unread, error) {
	var seen bytes.Buffer
	facts, err := picture.ReadFacts(io.TeeReader(r, &seen))
	if err != nil {
		return request.Params{}, nil, err
	}
	said, err := ReadFacts(facts)
	if errors.Is(err, ErrNoParameters) && picture.MayHide(facts) {
		switch facts.Texts, err = picture.ReadHidden(io.MultiReader(&seen, r)); {
		case err == nil:
			said, err = ReadFacts(facts)
		case errors.Is(err, picture.ErrNothingHidden):
			err = ErrNoParameters
		}
	}
	return said.Params, said.Unread, err
}

// ReadText reads the parameters of a picture in the layout of AUTOMATIC1111's web UI,
// which many programs write. What [Text] has written is read to the letter. Samplers
// and schedules get this library's names. Settings that a request has no place for, or
// whose values cannot be, are returned in their order; nothing but the model's names
// and the version of the program is left out. The only error is a text that is too
// long.
func ReadText(text string) (request.Params, []Unread, error) {
	if len(text) > maxParameters {
		return request.Params{}, nil, fmt.Errorf("must be at most %d bytes of parameters, got %d", maxParameters, len(text))
	}
	fields := Fields()
	d := newReading(parseText(text, knownKeys(fields)))
	for _, s := range []struct {
		key string
		to  *string
	}{{modelHashKey, &d.params.ModelHash}, {modelKey, &d.params.Model}, {vaeHashKey, &d.params.VAEHash}, {vaeKey, &d.params.VAE},
		{clipLKey, &d.params.CLIPL}, {clipGKey, &d.params.CLIPG}, {t5Key, &d.params.T5}, {llmKey, &d.params.LLM}, {llmVisionKey, &d.params.LLMVision}, {versionKey, new(string)}, {"Job hash", new(string)}} {
		if value, ok := d.take(s.key); ok {
			if *s.to = value; len(value) > maxName {
				*s.to = ""
				d.refuse(s.key, fmt.Errorf("must be at most %d bytes", maxName))
			}
		}
	}
	for _, s := range []struct {
		key string
		to  *[]request.Used
	}{{adapterHashesKey, &d.params.UsedAdapters}, {wordHashesKey, &d.params.UsedWords}} {
		if value, ok := d.take(s.key); ok {
			*s.to = readHashes(value)
		}
	}
	d.readPrompts()
	for _, f := range fields {
		switch {
		case f.read != nil:
			f.read(f, d)
		case f.A1111 != "" && !f.List:
			d.set(f, f.A1111)
		}
	}
	d.passes(fields)
	d.readWhatIsSo()
	return d.params, d.unread(), nil
}

// knownKeys reports which settings are fields'.
func knownKeys(fields []Field) func(key string) bool {
	known := map[string]bool{}
	for _, f := range fields {
		known[strings.ToLower(f.A1111)] = f.A1111 != ""
	}
	return func(key string) bool { return known[strings.ToLower(key)] }
}

// reading is a text that is being read.
type reading struct {
	parsed
	at      map[string]int // the first setting of a key in lower case
	used    []bool         // of the settings
	why     []error
	program string // the version that the text names
	params  request.Params
	sampler sampler.Sampler // by whatever name, which may bring a schedule
}

func newReading(p parsed) *reading {
	d := &reading{parsed: p, at: map[string]int{}, used: make([]bool, len(p.settings)), why: make([]error, len(p.settings))}
	for i, s := range p.settings {
		key := strings.ToLower(s.key)
		if _, twice := d.at[key]; twice {
			d.why[i] = errors.New("it is there twice")
		} else if key != "" {
			d.at[key] = i
		}
	}
	d.program, _ = d.look(versionKey)
	return d
}

// look is a setting's value.
func (d *reading) look(key string) (string, bool) {
	i, ok := d.at[strings.ToLower(key)]
	if !ok {
		return "", false
	}
	return d.settings[i].value, true
}

// take is a setting's value, which counts as read.
func (d *reading) take(key string) (string, bool) {
	value, ok := d.look(key)
	if ok {
		d.used[d.at[strings.ToLower(key)]] = true
	}
	return value, ok
}

// refuse says that a setting is not read after all, and why.
func (d *reading) refuse(key string, why error) {
	i := d.at[strings.ToLower(key)]
	d.used[i], d.why[i] = false, why
}

// set sets a field to a setting's value, if there is one that can be.
func (d *reading) set(f Field, key string) bool {
	value, ok := d.take(key)
	if !ok {
		return false
	}
	err := f.of.set(&d.params.Request, value)
	if err != nil {
		d.refuse(key, err)
	}
	return err == nil
}

// unread are the settings that are in no request.
func (d *reading) unread() (all []Unread) {
	for i, s := range d.settings {
		if d.used[i] {
			continue
		}
		u := Unread{Key: s.key, Value: s.value}
		if d.why[i] != nil {
			u.Why = d.why[i].Error()
		}
		all = append(all, u)
	}
	return all
}

// readPrompts reads both prompts.
func (d *reading) readPrompts() {
	lines := 0
	if value, ok := d.look(promptLinesKey); ok && d.ours {
		d.take(promptLinesKey)
		var err error
		if lines, err = strconv.Atoi(value); err != nil || lines < 1 {
			lines = 0
			d.refuse(promptLinesKey, errors.New("must be a number of lines"))
		}
	}
	d.params.Prompt, d.params.NegativePrompt = d.prompts(lines)
}

// nothing is of what is read elsewhere.
func nothing(Field, *reading) {}

// readSize reads both sides.
func readSize(f Field, d *reading) {
	value, ok := d.take(f.A1111)
	if !ok {
		return
	}
	p, err := size(1, request.MaxSide).parse(value)
	if err != nil {
		d.refuse(f.A1111, err)
		return
	}
	d.params.Width, d.params.Height = p.X, p.Y
}

// readBaseName takes no name with folders: [Text] writes none.
func readBaseName(f Field, d *reading) {
	if value, _ := d.look(f.A1111); strings.ContainsAny(value, `/\`) {
		d.refuse(f.A1111, errors.New("must be the name of a file without folders"))
		return
	}
	d.set(f, f.A1111)
}

func readInpaintArea(f Field, d *reading) {
	value, ok := d.take(f.A1111)
	d.params.OnlyMasked = value == onlyMasked
	if ok && value != onlyMasked && value != "Whole picture" {
		d.refuse(f.A1111, fmt.Errorf("must be %s or Whole picture", onlyMasked))
	}
}

// samplerNames are a sampler's name and schedule, which some names bring: "DPM++ 2M
// Karras", or "euler_a sgm_uniform" as stable-diffusion.cpp has it. schedule is empty
// where the name brings none.
func samplerNames(name string) (s sampler.Sampler, schedule string, err error) {
	if len(name) > maxName {
		return s, "", fmt.Errorf("must be the name of a sampler, got one of %d bytes", len(name))
	}
	s, err = sampler.Lookup(name)
	if err != nil {
		if at := strings.LastIndexByte(name, ' '); at > 0 {
			with, err1 := sampler.Lookup(name[:at])
			its, err2 := sampler.LookupSchedule(name[at+1:])
			if err1 == nil && err2 == nil {
				return with, its.Name, nil
			}
		}
		return s, "", err
	}
	if usual, err := sampler.Lookup(s.Name); err == nil && (s.OwnSchedule != usual.OwnSchedule || s.Schedule != usual.Schedule) {
		schedule = s.Schedule
	}
	return s, schedule, nil
}

func readSampler(f Field, d *reading) {
	value, ok := d.take(f.A1111)
	if !ok {
		return
	}
	s, schedule, err := samplerNames(value)
	if err != nil {
		d.refuse(f.A1111, err)
		return
	}
	d.sampler = s
	d.params.Sampler, d.params.Schedule = s.Name, schedule
}

// readSchedule reads a schedule under the names that programs have for it.
func readSchedule(f Field, d *reading) {
	for _, key := range []string{f.A1111, "Scheduler type", "Scheduler"} {
		value, ok := d.look(key)
		if !ok || d.used[d.at[strings.ToLower(key)]] {
			continue
		}
		schedule, err := d.sampler.LookupSchedule(value)
		if err != nil {
			d.refuse(key, err)
			continue
		}
		d.take(key)
		d.params.Schedule = schedule.Name
		break
	}
	if own, ok := d.ownSchedule(ownScheduleKey); ok {
		d.params.Schedule = own
	}
}

// webUI are versions of programs that draw philox's noise unless they say otherwise:
// AUTOMATIC1111's web UI, Forge, which only names another generator, and
// stable-diffusion.cpp.
var webUI = regexp.MustCompile(`^([vf]\d|neo|stable-diffusion\.cpp)`)

// readRNG reads the generator's name as this library, AUTOMATIC1111 or
// stable-diffusion.cpp writes it.
func readRNG(f Field, d *reading) {
	value, ok := d.take(f.A1111)
	switch strings.ToLower(value) {
	case string(request.TorchRNG), "cpu":
		d.params.RNG = request.TorchRNG
	case string(request.PhiloxRNG), "nv", "gpu", "cuda":
		d.params.RNG = request.PhiloxRNG
	default:
		if ok {
			d.refuse(f.A1111, fmt.Errorf("must be %s or %s, or what other programs call them", request.TorchRNG, request.PhiloxRNG))
		} else if webUI.MatchString(d.program) {
			d.params.RNG = request.PhiloxRNG
		}
	}
}

// readCount knows that a picture is one.
func readCount(f Field, d *reading) {
	if d.set(f, f.A1111) && d.params.Count == 1 {
		d.params.Count = 0
	}
}

func readInterpolationAt(f Field, d *reading) {
	t := d.params.Interpolate
	if _, ok := d.look(f.A1111); ok && t != nil && t.Seed != nil {
		d.set(f, f.A1111)
	}
	value, ok := d.look(towardsAtKey)
	if !ok || t == nil || t.Prompt == nil {
		return
	}
	before := d.params.Interpolate.At
	if !d.set(f, towardsAtKey) || t.Seed == nil {
		return
	}
	if now := d.params.Interpolate.At; now != before {
		d.params.Interpolate.At = before
		d.refuse(towardsAtKey, fmt.Errorf("must be that of the seed, %s, got %.40s", formatNumber(before), value))
	}
}

// modelHash is what AUTOMATIC1111 writes after the name of a model.
var modelHash = regexp.MustCompile(` \[[0-9a-f]{6,64}\]$`)

func readRefiner(f Field, d *reading) {
	if d.set(f, f.A1111) && !d.ours {
		d.params.Refiner = modelHash.ReplaceAllString(d.params.Refiner, "")
	}
}

func readCrop(f Field, d *reading) {
	value, ok := d.take(f.A1111)
	if !ok {
		return
	}
	form := pair(KindSize, "x", "the left and the top pixel", "0x0", 0, request.MaxSide, true)
	p, err := form.parse(value)
	if err != nil {
		d.refuse(f.A1111, err)
		return
	}
	d.params.CropTopLeft = p
}

// readTAESD reads which tiny autoencoder decoded the picture. AUTOMATIC1111 says only
// that one did.
func readTAESD(f Field, d *reading) {
	named := d.set(f, f.A1111)
	switch value, ok := d.look(decoderKey); {
	case ok && (value == "Full" || value == taesd && named):
		d.take(decoderKey)
	case ok && value == taesd:
		d.refuse(decoderKey, errors.New("a tiny autoencoder decoded the picture, and it is not said which"))
	}
}

// passes reads the hires passes. There are as many as have settings, one after the
// other.
func (d *reading) passes(all []Field) {
	fields := passFields(all)
	for i := range request.MaxHires {
		if !d.hasPass(fields, i) {
			break
		}
		d.params.Hires = append(d.params.Hires, d.readPass(fields, i))
	}
	// Without a picture to begin with, the strength is the first pass's.
	if r := &d.params.Request; len(r.Hires) > 0 && r.Hires[0].Strength == nil {
		r.Hires[0].Strength, r.Strength = r.Strength, nil
	}
}

func (d *reading) hasPass(fields []Field, i int) bool {
	for _, f := range fields {
		if _, ok := d.at[strings.ToLower(f.passKey(i))]; ok {
			return true
		}
	}
	return false
}

// readPass reads one hires pass. Without a size it has AUTOMATIC1111's factor.
func (d *reading) readPass(fields []Field, i int) (h request.HiresPass) {
	r := &d.params.Request
	for _, f := range fields {
		key := f.passKey(i)
		value, ok := d.look(key)
		if !ok {
			continue
		}
		var err error
		switch f.Path {
		case "Hires.Sampler", "Hires.Schedule": // below, together
			continue
		case "Hires.Width":
			value, err = d.fullSize(value)
		case "Hires.Steps":
			if value == "0" { // AUTOMATIC1111's "as many"
				d.take(key)
				continue
			}
		}
		if err == nil {
			err = f.pass.set(&h, value)
		}
		if err != nil {
			d.refuse(key, err)
			continue
		}
		d.take(key)
		if same, there := f.inherited(r); there {
			if text, _ := f.pass.get(&h); text == same {
				f.pass.clear(&h)
			}
		}
	}
	if h.Width != 0 {
		if h.Scale != 0 {
			h.Scale = 0
			d.refuse(Field{A1111: "Hires upscale"}.passKey(i), errors.New("there is a size, too"))
		}
	} else if h.Scale == 0 {
		h.Scale = defaultScale
	}
	d.passSampler(&h, i)
	return h
}
