package pool

import "slices"

// fewItems is up to how many items comparing is the faster way to sort.
const fewItems = 512

// sortItems returns the items in order, in their slice or in the spare one, which is as long. It takes time in proportion to their number: byte after
// byte, from the least one of the arrivals to the first one of the keys, they are dealt out to their places. Bytes that all have in common,
// which most are, are passed over.
func sortItems(items, spare []item) []item {
	if len(items) <= fewItems {
		slices.SortFunc(items, item.compare)
		return items
	}
	var arrivals, keys uint64 // bits in which they differ
	for _, x := range items {
		arrivals |= x.arrival ^ items[0].arrival
		keys |= x.key ^ items[0].key
	}
	for shift := 0; shift < 64; shift += 8 {
		if byte(arrivals>>shift) != 0 {
			deal(spare, items, func(x *item) byte { return byte(x.arrival >> shift) })
			items, spare = spare, items
		}
	}
	for shift := 0; shift < 64; shift += 8 {
		if byte(keys>>shift) != 0 {
			deal(spare, items, func(x *item) byte { return byte(x.key >> shift) })
			items, spare = spare, items
		}
	}
	return items
}

// deal orders items by a byte of each; those with the same one stay in their order.
func deal(to, from []item, digit func(*item) byte) {
	var place [256]int // of the next item with the byte
	for i := range from {
		place[digit(&from[i])]++
	}
	sum := 0
	for i, n := range place {
		place[i] = sum
		sum += n
	}
	for i := range from {
		d := digit(&from[i])
		to[place[d]] = from[i]
		place[d]++
	}
}
