#include "core/regex.h"

#include <doctest/doctest.h>

namespace sluice {
namespace {

Regex make(std::string_view pattern) {
  auto made = Regex::compile(pattern);
  REQUIRE_MESSAGE(made.ok(), pattern);
  return std::move(made).value();
}

std::string replaced(const Regex& regex, std::string_view text, std::string_view substitution) {
  std::string out = "> ";
  regex.replace_all(text, substitution, out);
  return out;
}

TEST_CASE("the whole text has to match") {
  const Regex regex = make("/a[0-9]+");
  CHECK(regex.full_match("/a12"));
  CHECK_FALSE(regex.full_match("/a12/"));
  CHECK_FALSE(regex.full_match("x/a12"));
  CHECK(regex.partial_match("x/a12/"));
  CHECK(regex.pattern() == "/a[0-9]+");
  CHECK(make("a{100}").program_size() > make("a{10}").program_size());
}

TEST_CASE("every match is replaced, groups are filled in") {
  const Regex regex = make("([a-z]+)=([0-9])");
  CHECK(replaced(regex, "a=1&b=2", "\\2:\\1") == "> 1:a&2:b");
  CHECK(replaced(regex, "a=1", "[\\0]") == "> [a=1]");
  CHECK(replaced(regex, "nothing", "x") == "> nothing");
  std::string out;
  CHECK(regex.replace_all("a=1", "x", out));
  CHECK_FALSE(regex.replace_all("a", "x", out));
}

TEST_CASE("what does not compile says why; a substitution has no groups that the pattern lacks") {
  const auto bad = Regex::compile("a(");
  REQUIRE_FALSE(bad.ok());
  CHECK(bad.error().message.find("missing )") != std::string::npos);
  CHECK(make("(a)").check_substitution("\\1").ok());
  CHECK_FALSE(make("(a)").check_substitution("\\2").ok());
  CHECK_FALSE(make("(a)").check_substitution("\\x").ok());
}

}  // namespace
}  // namespace sluice
