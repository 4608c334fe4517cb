// Package block is the compressed form in which readings rest: a pure codec
// from the readings, or the rollups, of one device to bytes and back, lossless
// to the bit. It has no clock, no files, no goroutines and no state but the
// memory that an [Encoder] or a [Decoder] reuses.
//
// The package refuses to know what a device or a metric is called, to choose
// what goes into a block, and to merge blocks: a series is a number of the
// caller's, its times ascend strictly. [Series.Tidy] brings readings into that
// order.
//
// What is below is enough to write another decoder. Reference encodings are in
// testdata.
//
// # Notation
//
// A byte is a number from 0 to 255. uv is an unsigned varint and zz a zigzag
// varint, both of encoding/binary. All arithmetic on times, offsets and numbers
// is modulo 2^64, and a number is a signed 64-bit integer. |x| is the magnitude
// of x; the class of x is the number of bits of |x|, 0 for 0 and 64 for -2^63.
//
// # Block
//
//	version  byte   1
//	crc      4      little-endian CRC32C of version and of all after crc
//	content  byte   1: readings, 2: rollups
//	time     zz uv  smallest time in microseconds; largest − smallest
//	offset   uv uv  readings only: smallest offset; largest − smallest
//	columns  uv     time columns, then for each:
//	                uv  2·times + subset
//	                uv  its first time − smallest of the block
//	                uv  largest of the block − its last time
//	                uv  length of the column in bytes
//	                uv  readings only: length of its offsets
//	series   uv     series in ascending order of their ids, then for each:
//	                uv  2·(id − previous id − 1) + other; for the first 2·id + other
//	                uv  when other is 1: its time column, counted from 0;
//	                    when other is 0 that of the previous series, at first 0
//	                uv  length of its values, or of its rollups
//	                uv  readings only: length of its offsets
//	payload         for each time column its times and its offsets, then for each
//	                series its values and its offsets, each of the length above
//
// A block has at most [MaxReadings] readings, or rollups, over all series. A
// series has as many as its time column has times.
//
// A time column is a column of numbers. When subset is 0 they are the times less
// the smallest of the block; when it is 1 they are row numbers, from 0, in time
// column 0, which then holds the times of several columns together and need not
// belong to a series. Times ascend strictly in either case.
//
// The offsets of a time column that is no subset are a column of numbers, a base
// for each of its rows; a subset has none, its series take the rows of column 0.
// The offsets of a series are a column of numbers too, where length 0 stands for
// zeros. The offset of a reading is the sum of the smallest offset of the block,
// the base of its row, the readings that the series before its own have in that
// row, and the number of the series: readings that came in one packet have
// consecutive offsets, and cost nothing beyond the base.
//
// # Columns
//
// A column is a head and the code of an entropy coder, up to the column's end.
// A column of numbers has one part, other columns several; the heads of all
// parts come first, in order, then one code for all of them, in the same order.
//
// The head of a part:
//
//	flags   byte  mode & 0x07, zero 0x08, plus 0x10, minus 0x20, unit 0x40, fine 0x80
//	first   zz
//	        mode 0 ends here
//	unit    uv    when the flag unit is set; else it is 1
//	centre  zz
//	shape         when plus or minus is set:
//	              byte  lo
//	              byte  hi − lo, and 0x80 when base follows; else base is lo
//	              byte  base
//	        modes 4 and 5 only:
//	ranks   uv    distinct numbers − 1
//	flags   byte  those of the gaps: zero, plus, minus, fine
//	shape         that of the gaps
//
// The mode says how the n numbers x of a part follow from the residuals r that
// the code holds; a part of no numbers has no code:
//
//	0  constant    x[i] = first; no residuals
//	1  direct      x[0] = first, x[i] = first + (centre + r[i])·unit; n−1 residuals
//	2  delta       x[0] = first, x[i] = x[i−1] + (centre + r[i])·unit; n−1 residuals
//	3  delta 2     x[0] = first, x[i] = x[i−1] + d[i], d[0] = centre·unit,
//	               d[i] = d[i−1] + r[i]·unit; n−1 residuals
//	4  rank        x[i] = s[centre + r[i]]; n residuals
//	5  rank delta  x[i] = s[k[i]], k[−1] = centre, k[i] = k[i−1] + r[i]; n residuals
//
// Modes 4 and 5 begin their code with the gaps, ranks residuals g with a model of
// their own: s[0] = first, s[i+1] = s[i] + (g[i] + 1)·unit.
//
// # Residuals
//
// The model of each run of residuals starts anew. When neither plus nor minus is
// set all residuals are 0 and nothing is coded. Otherwise each residual is coded
// by these decisions, each with a probability of its own for every context:
//
//	is it not 0    when zero is set; context c
//	is it below 0  when plus and minus are set; context c. When only minus is
//	               set it is, when only plus is set it is not
//	class − lo     a tree of depth bits, the length in bits of hi − lo; a tree
//	               for each step of the previous residual
//	top bits       those below the highest of |r|: class − 1, but at most 4, or 8
//	               when fine is set; a tree for each class
//	low bits       what is left, without a model
//
// The context c is (step, sign) of the previous residual: step is 0 when that is
// 0, else its class − base + 1, cut to 1 to 15; sign is 1 when it is below 0.
// Before the first residual both are 0.
//
// A tree codes a number of d bits, the highest first; the context of each bit is
// the bits above it.
//
// # Entropy coder
//
// The decoder has a width, at first 2^32 − 1, and a code, at first the first 4
// bytes of its input, big-endian. Behind the end of the input it reads zeros. A
// decision with the probability p of 0, in units of 1/65536:
//
//	bound = width·p / 65536, rounded down
//	code < bound: the bit is 0, width = bound
//	else: the bit is 1, code = code − bound, width = width − bound
//	while width < 2^24: width = width·256, code = code·256 + next byte
//
// A probability is at first 32768 and its context has been met 0 times. After the
// decision it moves by (t − p)·rate/65536, rounded down, where t is 65280 after a
// 0 and 256 after a 1, and rate is 655360/(10·n + 16), rounded down, for the n
// times that the context was met before, at most 63.
//
// Bits without a model are coded 16 at a time, the highest first, the last time
// what is left of them, k: width = width / 2^k, rounded down, the bits are
// code / width, code is the rest of the division, and then the last line above.
//
// # Values
//
// A column of values begins with the codec id: a byte with 1 for floats, 2 for
// integers, 4 for booleans and 8 for texts, for each kind that is there, and the
// form of the floats times 16. The heads of its parts follow:
//
//	kinds     when there are several: numbers, 1 float, 2 integer, 3 boolean, 4 text
//	floats    form 0: ordinals
//	          forms 1 and 2: exponent, a byte up to 22; mantissas; distances
//	integers  numbers
//	booleans  numbers, 0 is false
//	texts     uv distinct texts; indices of the texts; shared; lengths
//
// Each part but kinds has a number for each value of its kind.
//
// The ordinal of a float is its bits as a number b when the sign is clear, else
// b xor 2^63−1; floats ascend with their ordinals, −0 stands just below 0. With
// form 0 a float is that of the ordinal. With form 1 it is that whose ordinal is
// the ordinal of mantissa/10^exponent, divided as float64, plus the distance.
// With form 2 the quotient is rounded to float32, ordinals are those of float32
// (32 bits), and the result is widened.
//
// The distinct texts are numbered in the order in which they appear; shared and
// lengths have a number for each: how many bytes it begins with like the one
// before it, and how many follow. These bytes stand at the end of the code, each
// a tree of 8 bits with the byte before it in the text as its context, 0 at first.
// A text has at most 1024 bytes, all together at most [MaxText].
//
// # Rollups
//
// A column of rollups is a byte with the form, and 0x80 when the sums are
// ordinals, a byte with the exponent, and the parts
//
//	counts
//	min      ordinals or mantissas of the smallest values
//	spread   those of the largest values, less min
//	sum      ordinals of the sums, or their mantissas less
//	         count·(2·min + spread) / 2, rounded down
//	         forms 1 and 2: distances of the smallest, distances of the largest
//	         unless the sums are ordinals: distances of the sums
//
// The sums are ordinals with form 0; their mantissas and distances are those of
// form 1 in any case.
package block
