#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sluice {

// What a pattern says of its program before there is one.
struct PlainRegex {
  uint8_t groups = 0;  // that capture
  // Where in the pattern the bytes stand that a text which matches as a whole starts with: "/a/" of "^/a/b+".
  // Perhaps not all that there are, perhaps none.
  uint8_t prefix_at = 0;
  uint8_t prefix_size = 0;
};

constexpr size_t kPlainRegexSizeMax = 255;
constexpr size_t kPlainRegexDepthMax = 16;

// Instructions that RE2 makes of `size` bytes of a plain pattern, at most.
constexpr size_t plain_program_max(size_t size) {
  return 16 * size + 16;
}

// Is `pattern` of the part of RE2's syntax that surely compiles? If so, it need not be compiled to be
// accepted.
// Nothing: RE2 has to say, be it that the pattern is wrong, be it that nobody cared to recognise it here.
//
// Plain are, of printable ASCII and at most kPlainRegexSizeMax bytes: literals; escapes of punctuation, of
// the classes d w s D W S, of b and B, and of n r t; . ^ $ |; ( ) and (?: ) in pairs, at most
// kPlainRegexDepthMax deep; [ ] of single characters, ranges in order and classes; * + ? and their lazy forms
// where something stands to be repeated. Left to RE2 are, above all: counted repetition, repetition of a
// repetition or of an anchor, flags, names of groups and classes.
//
// Why that surely compiles (RE2's parse.cc, simplify.cc and compile.cc): a pattern is refused
// - by the parser: for bytes that are no UTF-8 (here is ASCII alone), escapes that it does not know, classes
//   without an end or with a range backwards, names, flags, groups without their other end, a repetition of
//   nothing or of a repetition, and counts. None of them can stand in a plain pattern;
// - for its size: more instructions than there is memory for (two thirds of 8 MiB, 8 bytes each: 699,000; a
//   third for the program that runs backwards, which RE2 can do without), or more than 1,000,000 nodes
//   walked. Without counted repetition a program is linear in its pattern. A byte costs 12 instructions at
//   most as they are allocated: "." is 8 ranges of bytes of UTF-8 and 4 branches between them, a star behind
//   it 2 branches; a class of escapes has the same beyond ASCII, and a branch and a range for each of its
//   bytes. That RE2 factors alternatives and joins repetitions of one atom (a*aa? is a+) moves instructions,
//   and adds an empty one to an alternative at most. When the program is flattened the branches go, and leave
//   a jump for each of their two edges at most: 16 to a ".". So 255 bytes are 4,096 instructions or 32 KiB, a
//   hundredth of what there is. (The most that was seen is half.)
// test/unit/core/regex_syntax_test.cc and test/fuzz/regex_syntax_fuzz.cc try to prove that wrong.
std::optional<PlainRegex> recognise_plain_regex(std::string_view pattern);

}  // namespace sluice
