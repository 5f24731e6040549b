package fake

import (
	"bytes"
	"context"
	"encoding/base64"
	"image"
	"os"
	"sync"

	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/server/worker"
)

// asWorker makes a test's program a worker.
const asWorker = "SDGO_TEST_WORKER"

// Main runs a package's tests, or is a worker where [Command] has started the program. It
// is for TestMain.
func Main(run func() int) {
	if os.Getenv(asWorker) == "" {
		os.Exit(run())
	}
	if err := worker.Run(context.Background(), os.Stdin, os.Stdout, Backend()); err != nil {
		os.Exit(3)
	}
	os.Exit(0)
}

// Command is how the test's program is started as a worker with fake models: its
// environment and its file.
func Command() (environ []string, program string, err error) {
	program, err = os.Executable()
	return append(os.Environ(), asWorker+"=1"), program, err
}

// Log is a log that may be read while it is written.
type Log struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (l *Log) Write(b []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(b)
}

func (l *Log) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.String()
}

// Decode decodes a picture in base64, with its parameters.
func Decode(text string) (img *image.NRGBA, parameters string, err error) {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, "", err
	}
	if img, err = picture.Read(bytes.NewReader(data)); err != nil {
		return nil, "", err
	}
	facts, err := picture.ReadFacts(bytes.NewReader(data))
	for _, one := range facts.Texts {
		if one.Keyword == picture.Keyword {
			parameters = one.Value
		}
	}
	return img, parameters, err
}
