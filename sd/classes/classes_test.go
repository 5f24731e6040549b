package classes

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestImageNet(t *testing.T) {
	require.Len(t, ImageNet(), 1000)
	for class, name := range map[int]string{0: "tench", 1: "goldfish", 207: "golden retriever", 250: "Siberian husky", 340: "zebra", 417: "balloon", 999: "toilet tissue"} {
		require.Equal(t, name, ImageNet().Name(class))
	}
	require.Empty(t, ImageNet().Name(1000))
	require.Empty(t, ImageNet().Name(-1))
	for i, names := range ImageNet() {
		require.NotEmpty(t, strings.TrimSpace(names), i)
		got, err := ImageNet().Find(names, 1000)
		if !strings.Contains(names, ",") && err != nil { // another class may have the name, too
			require.ErrorContains(t, err, "several classes are called", names)
			continue
		}
		require.NoError(t, err, names)
		require.Equal(t, i, got, names)
	}
}

func TestFind(t *testing.T) {
	for text, want := range map[string]int{"207": 207, " 0 ": 0, "golden retriever": 207, "Golden_Retriever": 207, "TINCA  tinca": 0, "tench, Tinca tinca": 0} {
		got, err := ImageNet().Find(text, 1000)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for text, message := range map[string]string{
		"1000":                   "must be 0 to 999, got 1000",
		"-1":                     "must be 0 to 999, got -1",
		"99999999999999999999":   "must be 0 to 999, got 99999999999999999999",
		"golden retreiver":       `no class is called "golden retreiver"; did you mean "golden retriever"? It may be a number, too, 0 to 999`,
		"polecat":                `several classes are called "polecat"; it must be a number: 358 (polecat, fitch, foulmart, foumart, Mustela putorius), 361 (skunk, polecat, wood pussy)`,
		"crane":                  "",
		"":                       "",
		strings.Repeat("x", 1e6): "",
	} {
		_, err := ImageNet().Find(text, 1000)
		if message == "" {
			require.Error(t, err)
			require.Less(t, len(err.Error()), 500)
			continue
		}
		require.EqualError(t, err, message)
	}
	_, err := Names(nil).Find("fox", 10)
	require.EqualError(t, err, `must be a number, 0 to 9, because the model's classes have no names, got "fox"`)
	_, err = ImageNet().Find("toilet tissue", 10)
	require.Error(t, err, "the model has no such class")
}

func TestOf(t *testing.T) {
	require.Equal(t, Names{"a", "b"}, Of(2, []string{"a", "b"}))
	require.Equal(t, ImageNet(), Of(1000, nil))
	require.Nil(t, Of(10, nil))
}
