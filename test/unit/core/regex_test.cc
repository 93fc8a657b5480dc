#include "core/regex.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <vector>

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

TEST_CASE("a plain pattern is compiled by the first text that wants it, for all its copies") {
  const Regex regex = make("/a/[0-9]+");
  const Regex copy = regex;
  CHECK(regex.pattern() == "/a/[0-9]+");
  CHECK_FALSE(regex.full_match("/b/1"));  // it starts otherwise, which is told without RE2
  CHECK_FALSE(regex.full_match(""));
  CHECK_FALSE(regex.program_exceeds(32768));
  CHECK_FALSE(regex.compiled());
  CHECK(copy.full_match("/a/1"));
  CHECK(regex.compiled());
  CHECK_FALSE(regex.full_match("/b/1"));
  CHECK(regex.full_match("/a/22"));

  const Regex part = make("/a/[0-9]+");
  CHECK(part.partial_match("/b/a/1"));  // a part need not stand at the beginning
  CHECK(part.compiled());
  const Regex replacing = make("/a/([0-9])");
  CHECK(replaced(replacing, "/b/a/1", "<\\1>") == "> /b<1>");
  CHECK(replacing.compiled());
  CHECK(make("(?i)a").compiled());
}

TEST_CASE("a limit to the program is exact, and compiles only where it may be passed") {
  const Regex regex = make("/a.b");
  const size_t size = make("(?-s:/a.b)").program_size();
  CHECK_FALSE(regex.program_exceeds(100));
  CHECK_FALSE(regex.compiled());
  CHECK_FALSE(regex.program_exceeds(size));
  CHECK(regex.compiled());
  CHECK(regex.program_exceeds(size - 1));
  CHECK(regex.program_size() == size);
  CHECK(make("(?-s:/a.b)").program_exceeds(size - 1));
  CHECK_FALSE(make("(?-s:/a.b)").program_exceeds(size));
}

TEST_CASE("a substitution that fits compiles nothing; one that does not has RE2's error") {
  const Regex regex = make("(a)(?:b)(c)");
  for (const char* fits : {"", "x", "\\0", "\\1-\\2", "\\\\", "\\\\9"})
    CHECK_MESSAGE(regex.check_substitution(fits).ok(), fits);
  CHECK_FALSE(regex.compiled());
  const Regex now = make("(?-s:(a)(?:b)(c))");
  for (const char* wrong : {"\\3", "\\1\\9", "\\", "a\\", "\\x", "\\ "}) {
    INFO(wrong);
    const Status said = make("(a)(?:b)(c)").check_substitution(wrong);
    const Status expected = now.check_substitution(wrong);
    REQUIRE_FALSE(said.ok());
    REQUIRE_FALSE(expected.ok());
    const auto reason = [](const Status& s) {
      return s.error().message.substr(s.error().message.find("': "));
    };
    CHECK(reason(said) == reason(expected));
  }
}

TEST_CASE("threads that come at once are all answered, with one program") {
  constexpr int kThreads = 4;
  for (int round = 0; round < 200; ++round) {
    const Regex regex = make("/a/([a-z]+|[0-9]+)/.*");
    std::atomic<int> waiting{kThreads};
    std::atomic<int> right{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&, mine = regex] {
        for (--waiting; waiting > 0;) std::this_thread::yield();
        right += mine.full_match("/a/12/b") && !mine.full_match("/a/1b/b") && mine.partial_match("x/a/b/");
      });
    for (std::thread& t : threads) t.join();
    CHECK(right == kThreads);
    CHECK(regex.compiled());
  }
}

}  // namespace
}  // namespace sluice
