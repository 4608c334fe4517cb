package wire

// maxDepth bounds the nesting of objects and arrays; device payloads have three
// or four levels.
const maxDepth = 16

type tokenKind uint8

const (
	tokenError tokenKind = iota // malformed; the tokens say where and why
	tokenEnd                    // the object or array that is open ends
	tokenObject
	tokenArray
	tokenText
	tokenNumber
	tokenBool
	tokenNull
	tokenOther // a well-formed value that is no reading, such as a byte string
)

// token is one step through a JSON or CBOR text. In an object keys and values
// take turns.
type token struct {
	kind  tokenKind
	text  []byte // a text; a number as written, in JSON only
	value Value  // a number or boolean
}

// tokens walks over one JSON or CBOR text. The walk is well formed: it ends with
// the outermost value or with a tokenError.
type tokens interface {
	next() token
	// skip reads the rest of the value that began with t, the token that came
	// last; false on malformed input.
	skip(t token) bool
	// where returns the place in the payload of the token that came last, and
	// why it is a tokenError.
	where() (at int, msg string)
	// behind returns the place after the last token.
	behind() int
}
