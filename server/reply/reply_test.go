package reply

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func late(t *testing.T, k Keep, took time.Duration, fails error) (*http.Response, string, error) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Late(w, r, k, func(context.Context) (map[string]int, error) {
			time.Sleep(took)
			return map[string]int{"a": 1}, fails
		}, func(err error) { JSON(w, http.StatusTeapot, map[string]string{"error": err.Error()}) })
	}))
	t.Cleanup(s.Close)
	reply, err := http.Get(s.URL)
	require.NoError(t, err)
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	return reply, string(body), err
}

func TestLate(t *testing.T) {
	k := Keep{30 * time.Millisecond, 10 * time.Millisecond}
	reply, body, err := late(t, k, 0, nil)
	require.NoError(t, err)
	require.Equal(t, "{\"a\":1}\n", body)
	require.Equal(t, int64(8), reply.ContentLength)

	_, body, err = late(t, k, 150*time.Millisecond, nil)
	require.NoError(t, err)
	require.Regexp(t, `^ {3,}\{"a":1\}\n$`, body)
	var v map[string]int
	require.NoError(t, json.Unmarshal([]byte(body), &v))

	reply, body, err = late(t, k, 0, errors.New("no"))
	require.NoError(t, err)
	require.Equal(t, http.StatusTeapot, reply.StatusCode)
	require.Contains(t, body, "no")

	reply, _, err = late(t, k, 100*time.Millisecond, errors.New("no"))
	require.Equal(t, http.StatusOK, reply.StatusCode)
	require.Error(t, err, "the reply is cut off")

	reply, _, err = late(t, Keep{}, 100*time.Millisecond, errors.New("no"))
	require.NoError(t, err)
	require.Equal(t, http.StatusTeapot, reply.StatusCode, "without keep-alive errors keep their status")
}

func TestBody(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		_, err := Body(r)
		require.EqualError(t, err, "the request must be at most 1 MB")
	}))
	defer s.Close()
	reply, err := http.Post(s.URL, "", io.LimitReader(zeros{}, 2<<20))
	if err == nil {
		reply.Body.Close()
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
