#include "core/regex_syntax.h"

#include <doctest/doctest.h>

#include "core/random.h"
#include "test/support/regex_check.h"

namespace sluice {
namespace {

struct Plain {
  const char* pattern;
  int groups;
  const char* prefix;
};

const Plain kPlain[] = {
    {"", 0, ""},
    {"a", 0, "a"},
    {"/api/v[0-9]+/(users|orders)/a-b/.*", 1, "/api/v"},
    {"(test|canary)-7-.*", 1, ""},
    {"/a/([a-zA-Z0-9\\-._~%!$&'()+,;:@=]+)", 1, "/a/"},  // as of a URI template
    {"^/a.b$", 0, "/a"},
    {"^^a", 0, ""},
    {"/a\\.b", 0, "/a"},  // the . stands behind a backslash, where the text has none
    {"\\/a", 0, ""},
    {"ab*", 0, "a"},
    {"ab?c", 0, "a"},
    {"ab+?c", 0, "a"},
    {"a*b", 0, ""},
    {"^a*b", 0, ""},
    {"ab|ac", 0, ""},
    {"ab(c|d)", 1, "ab"},
    {"a(?:b|c)", 0, "a"},
    {"a(?:(b)|(c(d)))", 3, "a"},
    {"()|(|)*", 2, ""},
    {"(a*)*", 1, ""},
    {"a|", 0, ""},
    {"a\\d\\w\\s\\D\\W\\S\\b\\B\\n\\r\\t", 0, "a"},
    {"a\\-\\_\\ \\{\\}\\^\\~", 0, "a"},
    {"a}]b", 0, "a}]b"},
    {"a-b,c:d;e", 0, "a-b,c:d;e"},
    {"[a]", 0, ""},
    {"[^a]", 0, ""},
    {"[a-z0-9_.~+*?(){}|$^]", 0, ""},
    {"[-a]", 0, ""},
    {"[a-]", 0, ""},
    {"[-]", 0, ""},
    {"[^-a]", 0, ""},
    {"[\\d-]", 0, ""},
    {"[\\w\\-.]+", 0, ""},
    {"[\\s\\S]*", 0, ""},
    {"[^\\s/]+", 0, ""},
    {"[\\[-\\]]", 0, ""},
    {"[!-/]", 0, ""},
    {"[z-z]", 0, ""},
    {"((((((((((((((((a))))))))))))))))", 16, ""},
};

TEST_CASE("plain patterns, their groups and their prefix") {
  for (const Plain& c : kPlain) {
    INFO(c.pattern);
    const auto found = recognise_plain_regex(c.pattern);
    REQUIRE(found);
    CHECK(found->groups == c.groups);
    CHECK(std::string_view(c.pattern).substr(found->prefix_at, found->prefix_size) == c.prefix);
    CHECK(test::denied(c.pattern, "a") == "");
    CHECK(test::denied(c.pattern, "") == "");
  }
}

TEST_CASE("what is wrong is left to RE2, and RE2 refuses it") {
  for (const char* pattern :
       {"a(",        "a)",      "(",     ")",     "(a))",    "((a)",    "*",      "+a",           "?",
        "|*",        "(*a)",    "(?:+)", "a**",   "a+*",     "a*??",    "a???",   "a*?+",         "[a",
        "[",         "[^",      "[]",    "[^]",   "[]a",     "[a-",     "[a\\",   "[z-a]",        "[a-z-A-.]",
        "[\\d-\\q]", "[a-\\d]", "\\",    "a\\",   "\\q",     "\\8",     "\\1",    "\\y",          "[\\b]",
        "[\\q]",     "(?",      "(?:",   "(?=a)", "(?!a)",   "(?<=a)",  "(?P<a",  "(?P=a)",       "(?a)",
        "(?-:a)",    "\\p",     "\\p{",  "\\pX",  "[[:a:]]", "a{1001}", "a{2,1}", "{2}",          "a{2}{2}",
        "a{2}*",     "\\x",     "\\xg",  "a\\Z",  "\xff",    "a\xc3",   "[\xff]", "(a{999}){999}"}) {
    INFO(pattern);
    CHECK_FALSE(recognise_plain_regex(pattern));
    CHECK_FALSE(Regex::compile(pattern).ok());
  }
}

TEST_CASE("what is right and not plain is compiled at once") {
  std::string deep(kPlainRegexDepthMax + 1, '(');
  deep += 'a' + std::string(kPlainRegexDepthMax + 1, ')');
  const std::string patterns[] = {
      "a{2}",
      "a{",
      "{a",
      "a{,2}",
      "a{2,}",
      "(?i)a",
      "(?i:a)",
      "(?P<a>b)",
      "^*",
      "$?",
      "\\b+",
      "[]a]",
      "[^]a]",
      "[[]",
      "[a[]",
      "[[:alpha:]]",
      "[a-z-9]",
      "[--9]",
      "[\\d-a]",
      "[^\\S]",
      "\\Q.\\E",
      "\\pL",
      "\\A",
      "\\z",
      "\\C",
      "\\x41",
      "\\101",
      "\\a",
      "\xc3\xa4",
      "[\xc3\xa4]",
      "a\tb",
      std::string("a\0b", 3),
      "\x7f",
      deep,
      std::string(kPlainRegexSizeMax + 1, 'a'),
  };
  for (const std::string& pattern : patterns) {
    INFO(pattern);
    CHECK_FALSE(recognise_plain_regex(pattern));
    const auto made = Regex::compile(pattern);
    REQUIRE(made.ok());
    CHECK(made->compiled());
  }
}

TEST_CASE("the longest plain patterns have small programs") {
  for (const char* part :
       {"a",       ".",   "\\W",  ".*", ".|",    "(.)",      "(.?)",   "(.*)*",  "(.|a*)",   "[^a]",
        "[^a-c]*", "()|", "(a|)", "a?", "a*aa?", "[\\W\\D]", ".*?.+?", "(|.)*?", "\\b\\B^$", "a.|ab|.c|"}) {
    std::string pattern;
    while (pattern.size() + std::string_view(part).size() <= kPlainRegexSizeMax) pattern += part;
    INFO(pattern);
    CHECK(recognise_plain_regex(pattern));
    CHECK(test::denied(pattern, "abc") == "");
  }
}

constexpr std::string_view kSpecial = R"(()(|[]^-$.*+?\{}:=!<>P,019aAbBdDsSwWnzEQx /~&")";

// Of what means something to RE2 and a few that do not, or of whole pieces, which are right more often.
std::string any_pattern(Random& random, size_t size_max) {
  static constexpr std::string_view kPieces[] = {
      "(",  ")",     "(?:", "|",   "*",  "+",   "?",     "*?",     "a",     "b", "ab", ".", "^",
      "$",  "[a-c]", "[^",  "[",   "]",  "\\d", "\\W",   "[\\w-]", "[^ab]", "{", "}",  "-", "\\b",
      "()", "(a|b)", "a*",  ".+?", "aa", "a|",  "(?:.)", "\\.",    "\\",    "2", ","};
  const bool pieces = random.chance(1, 2);
  const size_t size = random.below(random.chance(1, 100) ? size_max : 14);
  std::string out;
  while (out.size() < size) {
    if (pieces)
      out += kPieces[random.below(std::size(kPieces))];
    else
      out += kSpecial[random.below(kSpecial.size())];
  }
  return out;
}

TEST_CASE("RE2 compiles whatever is recognised, however it is put together") {
  const uint64_t seed = random_seed();
  Random random(seed);
  size_t plain = 0;
  for (int i = 0; i < 200000; ++i) {
    const std::string pattern = any_pattern(random, 280);
    plain += recognise_plain_regex(pattern).has_value();
    std::string text;
    for (size_t n = random.below(5); n > 0; --n) text += "aab-. "[random.below(6)];
    if (const std::string what = test::denied(pattern, text); !what.empty())
      FAIL_CHECK(pattern << " " << what << "; text '" << text << "', seed " << seed);
  }
  CHECK(plain > 60000);  // else this shows nothing
}

}  // namespace
}  // namespace sluice
