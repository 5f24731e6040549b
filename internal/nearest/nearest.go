// Package nearest finds how much names differ, to suggest one in place of a misspelt one.
package nearest

// Distance is Levenshtein's: the insertions, deletions and substitutions of bytes that turn a
// into b. It takes time of the order of the product of their lengths.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d++
			}
			diagonal = row[j+1]
			row[j+1] = min(d, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
