package job

import (
	"fmt"

	"github.com/sdgo/sdgo/sd/request"
)

// Values of AUTOMATIC1111's "Noise Schedule".
const (
	noiseScheduleZero  = "Zero Terminal SNR"
	noiseScheduleUsual = "Default"
)

// noiseScheduleText writes a noise schedule that is not the model's own.
func noiseScheduleText(f Field, r *request.Request) []kv {
	if r.ZeroSNR {
		return []kv{{f.A1111, noiseScheduleZero}}
	}
	return nil
}

// readNoiseSchedule reads it.
func readNoiseSchedule(f Field, d *reading) {
	value, ok := d.take(f.A1111)
	d.params.ZeroSNR = value == noiseScheduleZero
	if ok && value != noiseScheduleZero && value != noiseScheduleUsual {
		d.refuse(f.A1111, fmt.Errorf("must be %s or %s", noiseScheduleZero, noiseScheduleUsual))
	}
}
