package wire

import (
	"fmt"
	"strings"
)

// Formats is a set of formats. The empty set stands for all of them.
type Formats uint32

// Native are the formats that are Naru's own, without the dialects.
const Native = Formats(1<<FormatLine | 1<<FormatJSON | 1<<FormatSenML | 1<<FormatCBOR | 1<<FormatSenMLCBOR)

// FormatsOf returns a set.
func FormatsOf(fs ...Format) Formats {
	var set Formats
	for _, f := range fs {
		set |= 1 << f
	}
	return set
}

// Has reports whether f is in the set; the empty set has every format.
func (s Formats) Has(f Format) bool { return s == 0 || s>>f&1 != 0 }

// only returns the single format of the set, 0 when there are more.
func (s Formats) only() Format {
	for f := FormatLine; f <= lastFormat; f++ {
		if s == 1<<f {
			return f
		}
	}
	return 0
}

// String lists the names, parted by commas; "all" for the empty set.
func (s Formats) String() string {
	if s == 0 {
		return "all"
	}
	var names []string
	for f := FormatLine; f <= lastFormat; f++ {
		if s>>f&1 != 0 {
			names = append(names, f.String())
		}
	}
	return strings.Join(names, ", ")
}

// ParseFormats reads names of formats as [Format.String] gives them.
func ParseFormats(names []string) (Formats, error) {
	var set Formats
	for _, name := range names {
		f := FormatLine
		for ; f <= lastFormat && f.String() != name; f++ {
		}
		if f > lastFormat {
			return 0, fmt.Errorf("there is no dialect %q; there are %s", name, Formats(1<<(lastFormat+1)-1<<FormatLine))
		}
		set |= 1 << f
	}
	return set, nil
}
