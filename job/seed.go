package job

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/sdgo/sdgo/sd/request"
)

// seedBounds are those of seeds, which have 64 bits as ComfyUI's and torch's do.
const seedBounds = "0 to 18446744073709551615"

// firstSeed is a request's seed: a number of 64 bits, or -1 for a random one.
func firstSeed() access[request.Request] {
	random := strconv.Itoa(request.RandomSeed)
	or := ", or " + random + " for a random one"
	return access[request.Request]{KindInteger, seedBounds + or,
		func(r *request.Request) (string, bool) {
			if r.Random() {
				return random, true
			}
			return seedText(r.Seed, r.UnsignedSeed), r.Seed != 0
		},
		func(r *request.Request, text string) error {
			if text == random {
				r.Seed, r.UnsignedSeed = request.RandomSeed, false
				return nil
			}
			seed, err := parseSeed(text, or)
			if err == nil {
				r.SetSeed(seed)
			}
			return err
		},
		func(r *request.Request) { r.SetSeed(0) },
	}
}

// otherSeed is the seed of the picture at the other end.
func otherSeed() access[request.Interpolation] {
	return access[request.Interpolation]{KindInteger, seedBounds,
		func(t *request.Interpolation) (string, bool) {
			if t.Seed == nil {
				return "", false
			}
			return seedText(*t.Seed, t.UnsignedSeed), true
		},
		func(t *request.Interpolation, text string) error {
			seed, err := parseSeed(text, "")
			if err == nil {
				t.SetSeed(seed)
			}
			return err
		},
		func(t *request.Interpolation) { t.Seed, t.UnsignedSeed = nil, false },
	}
}

// parseSeed reads a seed. or says what else there may be in its place.
func parseSeed(text, or string) (uint64, error) {
	small, err := strconv.ParseInt(text, 10, 64) // with a sign, too
	if err == nil && small >= 0 {
		return uint64(small), nil
	}
	if seed, err := strconv.ParseUint(text, 10, 64); err == nil {
		return seed, nil
	}
	if err == nil || errors.Is(err, strconv.ErrRange) { // a number all the same
		return 0, fmt.Errorf("must be %s%s, got %.40s", seedBounds, or, text)
	}
	return 0, fmt.Errorf("must be a whole number, got %.40q", text)
}

// seedText writes a seed; one that a request must not have, which a check refuses,
// as it is.
func seedText(seed int64, unsigned bool) string {
	if unsigned {
		return strconv.FormatUint(uint64(seed), 10)
	}
	return strconv.FormatInt(seed, 10)
}
