package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const serveExamples = "../examples/serve/"

// flagsOf are the flags of a command line, without their values.
func flagsOf(line string) (names []string) {
	for _, m := range regexp.MustCompile(`--([a-z][a-z-]*)`).FindAllStringSubmatch(line, -1) {
		names = append(names, m[1])
	}
	return names
}

// The systemd unit starts a command that there is, with flags and settings that there
// are, and systemd understands it, where it is here to be asked.
func TestSystemdUnit(t *testing.T) {
	text, err := os.ReadFile(serveExamples + "sdgo.service")
	require.NoError(t, err)
	settings := map[string][]string{}
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		key, value, found := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = line
		default:
			require.True(t, found && section != "", line)
			settings[section+key] = append(settings[section+key], value)
		}
	}
	start := settings["[Service]ExecStart"]
	require.Len(t, start, 1)
	require.True(t, strings.HasPrefix(start[0], "/usr/local/bin/sdgo serve --"), "where make install puts it: %s", start[0])
	require.Greater(t, len(flagsOf(start[0])), 3)
	for _, name := range flagsOf(start[0]) {
		require.NotNil(t, serveCommand().flag(name), "--%s", name)
	}
	require.Equal(t, []string{"yes"}, settings["[Service]DynamicUser"], "not root")
	require.Contains(t, start[0], "%d/"+strings.SplitN(settings["[Service]LoadCredential"][0], ":", 2)[0], "the users are those that are handed over")
	// The settings of its comment.
	example := regexp.MustCompile(`'(\{.*\})'`).FindSubmatch(text)
	require.NotNil(t, example)
	var config map[string]any
	require.NoError(t, json.Unmarshal(example[1], &config))
	for key := range config {
		require.NotNil(t, serveCommand().flag(strings.ReplaceAll(key, "_", "-")), key)
	}

	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is missing: the unit's settings are not checked by systemd itself")
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	unit := filepath.Join(t.TempDir(), "sdgo.service")
	require.NoError(t, os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/sdgo", exe)), 0o600)) // it must be there
	out, err := exec.Command(analyze, "verify", "--man=no", "--recursive-errors=no", unit).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "sdgo.service", "it has warnings: %s", out)
}

// The image: built apart from what it has, not run by root, watched by a route that needs
// no user, with flags that there are.
func TestDockerfile(t *testing.T) {
	text, err := os.ReadFile(serveExamples + "Dockerfile")
	require.NoError(t, err)
	stages := []map[string][]string{}
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "" || word[0] == '#' {
			continue
		}
		if word == "FROM" {
			stages = append(stages, map[string][]string{})
		}
		require.NotEmpty(t, stages, "FROM comes first")
		stages[len(stages)-1][word] = append(stages[len(stages)-1][word], rest)
	}
	require.Len(t, stages, 2)
	build, image := stages[0], stages[1]
	require.True(t, strings.HasPrefix(build["FROM"][0], "golang:") && strings.HasSuffix(build["FROM"][0], " AS build"), build["FROM"])
	require.Contains(t, strings.Join(build["RUN"], "\n"), "./cli/sdgo")
	require.Len(t, image["COPY"], 1)
	require.True(t, strings.HasPrefix(image["COPY"][0], "--from=build "), "nothing of the source")
	require.Len(t, image["USER"], 1)
	require.NotContains(t, []string{"", "root", "0"}, image["USER"][0])
	require.Contains(t, strings.Join(image["RUN"], "\n"), "useradd")
	require.Equal(t, []string{"SIGTERM"}, image["STOPSIGNAL"])
	check := image["HEALTHCHECK"][0]
	require.Contains(t, check, "http://127.0.0.1:"+image["EXPOSE"][0]+"/readyz")
	for _, list := range []string{image["CMD"][0], image["ENTRYPOINT"][0], check[strings.Index(check, "["):]} {
		var words []string
		require.NoError(t, json.Unmarshal([]byte(list), &words), "signals reach the program where no shell is between: %s", list)
	}
	var words []string
	require.NoError(t, json.Unmarshal([]byte(image["CMD"][0]), &words))
	require.Equal(t, "serve", words[0])
	require.Contains(t, words, "0.0.0.0:"+image["EXPOSE"][0])
	for _, name := range flagsOf(image["CMD"][0]) {
		require.NotNil(t, serveCommand().flag(name), "--%s", name)
	}
	for _, volume := range []string{"/models", "/pictures"} {
		require.Contains(t, image["VOLUME"][0], volume)
		require.Contains(t, words, volume)
	}
	require.Contains(t, words, "--auth-file", "others reach it")
}
