package job

import (
	"testing"

	"github.com/sdgo/sdgo/sd/request"
)

// Whatever a text says, what is read of it is written and read again as it is.
func FuzzReadText(f *testing.F) {
	d := newDice(4)
	for range 64 {
		r := d.request()
		if q, err := r.Resolve(defaults); err == nil {
			f.Add(Text(q.Params(d.file(), r.Seed), "0.1.0"))
		}
		f.Add(d.text() + d.text() + "\n" + d.text() + d.text())
	}
	f.Add("a\nNegative prompt: b: \"c\"\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1, Size: 512x768, Denoising strength: 0.5, Hires resize: 1024x0, Lora hashes: \"a: b\", Version: v1.6.0")
	f.Add("a\nSteps: 20, Skip layers: [7, 8, ], Seed: 42, RNG: cuda, Sampler: euler_a sgm_uniform, Hires upscale: 2, Hires sampler: LCM, Hires 2 steps: 5, Version: stable-diffusion.cpp")
	f.Fuzz(func(t *testing.T, text string) {
		p, unread, err := ReadText(text)
		if err != nil {
			t.Skip() // longer than the fuzzer writes
		}
		for _, u := range unread {
			_ = u.String()
		}
		again := Text(p, "1.2.3")
		q, left, err := ReadText(again)
		if err != nil || len(left) > 0 {
			t.Fatalf("%q is read as %+v, written as %q, of which %v is not read: %v", text, p, again, left, err)
		}
		if err := differ(q, p); err != nil {
			t.Fatalf("%q is written as %q, which is another: %v", text, again, err)
		}
		if third := Text(q, "1.2.3"); third != again {
			t.Fatalf("%q is written as %q, then as %q", text, again, third)
		}
	})
}

// Whatever JSON is read is written and read again as it is.
func FuzzDecode(f *testing.F) {
	d := newDice(5)
	for range 64 {
		if data, err := Encode(d.request()); err == nil {
			f.Add(data)
		}
	}
	f.Add([]byte(`{"steps": 30.0, "cfg-scale": 7e0, "hires": "1.5x,2", "hires_strength": "0.6,0.35", "crop": [1, 2], "to": null, "at": 1}`))
	f.Add([]byte(`{"hires": [{"scale": 2, "size": "8x8"}, {}], "canvas": "64x64", "negative_prompt": "\ud800"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Encode(r)
		if err != nil {
			t.Fatalf("%q is read as %+v, which is not written: %v", data, r, err)
		}
		q, err := Decode(again)
		if err != nil {
			t.Fatalf("%q is written as %q, which is not read: %v", data, again, err)
		}
		if err := differ(q, r); err != nil {
			t.Fatalf("%q is written as %q, which is another: %v", data, again, err)
		}
		third, err := Encode(q)
		if err != nil || string(third) != string(again) {
			t.Fatalf("%q is written as %q, then as %q: %v", data, again, third, err)
		}
	})
}

// A flag takes a value, and says it again, or leaves the request as it was.
func FuzzSet(f *testing.F) {
	for _, field := range Fields() {
		f.Add(field.Flag, valueOf(field))
	}
	f.Add("hires", "1.5x,2x")
	f.Add("crop", "-1,2")
	f.Fuzz(func(t *testing.T, flag, value string) {
		r := request.Request{Hires: make([]request.HiresPass, 3), Seed: 4}
		before := r
		err := Set(&r, flag, value)
		if err != nil {
			if difference := differ(r, before); difference != nil {
				t.Fatalf("%s %q: %v, and yet %v", flag, value, err, difference)
			}
			return
		}
		data, err := Encode(r)
		if err != nil {
			return // no UTF-8
		}
		q, err := Decode(data)
		if err == nil {
			err = differ(q, r)
		}
		if err != nil {
			t.Fatalf("%s %q is written as %q: %v", flag, value, data, err)
		}
	})
}
