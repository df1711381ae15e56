package edge

// Shape is how deep a JSON text nests, and how many elements it has if it is an array, without decoding it: a text that is
// refused for its shape must not cost memory first. What is no JSON has some shape too; decoding finds out.
func Shape(text []byte) (depth, elements int) {
	var level, commas int
	var array, filled bool // of the outermost value; filled: something stands in the array
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"':
			i = endOfString(text, i+1)
			filled = filled || level == 1
		case '[', '{':
			if level == 0 {
				array = c == '['
			} else {
				filled = true
			}
			level++
			depth = max(depth, level)
		case ']', '}':
			level--
		case ',':
			if level == 1 {
				commas++
			}
		case ' ', '\t', '\r', '\n':
		default:
			filled = filled || level == 1
		}
	}
	if array && (filled || commas > 0) {
		elements = commas + 1
	}
	return depth, elements
}

// endOfString returns the place of the quote that ends a string, or the text's end.
func endOfString(text []byte, i int) int {
	for ; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i
}
