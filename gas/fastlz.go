package gas

// The compressor that OP stack chains measure data with: level 1 of FastLZ, with the choices of Solady's
// LibZip.flzCompress. All in bytes, but the table.
const (
	flzWindow   = 1<<13 - 1 // how far back a match may begin
	flzTable    = 1 << 13   // entries
	flzTail     = 13        // at the end, where no match begins
	flzMatchEnd = 4         // at the end, into which no match runs
	flzWord     = 3         // what is looked up; no match is shorter
	flzLiterals = 32        // the longest run of literals
	flzMatch    = 262       // the longest match
	flzShort    = 7         // from which on a match takes a byte more
)

// FastLZLength returns how many bytes data would have, compressed as an OP stack chain does it to charge for a
// transaction's data (Fjord upgrade). Nothing is compressed.
func FastLZLength(data []byte) uint64 {
	var seen [flzTable]uint32 // where the words with a hash were last; one not seen yet is looked for at the beginning
	var length, anchor int    // what is before the anchor has been written
	at := flzWord - 1
	for {
		from, to, found := flzSearch(data, &seen, at)
		if !found {
			return uint64(length + flzLiteralsLength(len(data)-anchor))
		}
		end := to + flzWord
		for end < len(data)-flzMatchEnd && data[end] == data[from+end-to] {
			end++
		}
		// The compressor counts the first byte that differs too.
		end = min(end+1, len(data)-flzMatchEnd)
		length += flzLiteralsLength(to-anchor) + flzMatchLength(end-to-flzWord)
		at = end - flzWord
		for range 2 {
			seen[flzHash(flzAt(data, at))] = uint32(at)
			at++
		}
		anchor = at
	}
}

// flzSearch looks from a position on for the first word that was seen before, and returns where it was and is.
func flzSearch(data []byte, seen *[flzTable]uint32, at int) (from, to int, found bool) {
	for ; at < len(data)-flzTail-1; at++ {
		word := flzAt(data, at)
		slot := &seen[flzHash(word)]
		from, *slot = int(*slot), uint32(at)
		if at-from <= flzWindow && flzAt(data, from) == word {
			return from, at, true
		}
	}
	return 0, 0, false
}

func flzAt(data []byte, at int) uint32 {
	return uint32(data[at]) | uint32(data[at+1])<<8 | uint32(data[at+2])<<16
}

func flzHash(word uint32) uint32 { return 2654435769 * word >> 19 & (flzTable - 1) }

// flzLiteralsLength is the length of bytes that are written as they are: each run has a byte before it.
func flzLiteralsLength(n int) int { return n + (n+flzLiterals-1)/flzLiterals }

// flzMatchLength is the length of a match of n bytes more than two.
func flzMatchLength(n int) int {
	longest := (n - 1) / flzMatch
	if n-longest*flzMatch < flzShort {
		return 3*longest + 2
	}
	return 3*longest + 3
}
