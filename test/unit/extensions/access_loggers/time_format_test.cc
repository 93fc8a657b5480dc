#include "extensions/access_loggers/common/time_format.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <ctime>

using namespace sluice;
using access_loggers::TimeFormat;

namespace {

// 2026-11-22T03:30:55.368702000Z, a moment at which real Envoy 1.40 was asked for all these formats.
const WallTime kThen{Duration{1795318255'368702000}};

std::string render(std::string_view format, WallTime t = kThen, bool local = false) {
  auto f = TimeFormat::parse(format, local);
  REQUIRE(f.ok());
  std::string out;
  f->append(t, out);
  return out;
}

}  // namespace

TEST_CASE("date formats render as in Envoy") {
  CHECK(render("") == "2026-11-22T03:30:55.368Z");
  CHECK(render("", kThen, true).starts_with("2026-11-"));
  CHECK(render("%E4Y-%E3S %e %j %s %3f.%1f%9f %%%f") ==
        "2026-55.368 22 326 1795318255 368.3368702000 %368702000");
  CHECK(render("%s%3f") == "1795318255368");
  CHECK(render("%Ez %E*S %p %a %A %b %B %D %T %R %c %Z %U %u %y %I") ==
        "+00:00 55.368702 AM Sun Sunday Nov November 11/22/26 03:30:55 03:30 Sun Nov 22 03:30:55 2026 UTC 47 "
        "7 26 03");
  CHECK(render("%Y/%m/%dT%H:%M:%S%z %s") == "2026/11/22T03:30:55+0000 1795318255");
  CHECK(render("a") == "a");
  CHECK(render("50%") == "50%");
}

TEST_CASE("a second without fraction, and times before 1970") {
  CHECK(render("%E*S", WallTime{Duration{1795318255'000000000}}) == "55");
  CHECK(render("", WallTime{Duration{0}}) == "1970-01-01T00:00:00.000Z");
  CHECK(render("", WallTime{Duration{-1}}) == "1969-12-31T23:59:59.999Z");
  CHECK(render("", WallTime{Duration{951782400'000000000}}) == "2000-02-29T00:00:00.000Z");
}

TEST_CASE("the default date agrees with the C library on every day of a century") {
  for (int64_t day = 0; day < 36600; ++day) {
    std::time_t t = day * 86400 + 12345;
    std::tm tm{};
    gmtime_r(&t, &tm);
    char want[64];
    std::strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%S.000Z", &tm);
    REQUIRE(render("", WallTime{std::chrono::seconds(t)}) == want);
  }
}

TEST_CASE("local time follows TZ") {
  const char* before = std::getenv("TZ");
  std::string old = before ? before : "";
  setenv("TZ", "XXX-05:30", 1);
  tzset();
  CHECK(render("", kThen, true) == "2026-11-22T09:00:55.368+0530");
  CHECK(render("%Ez", kThen, true) == "+05:30");
  CHECK(render("%H", kThen, false) == "03");
  before ? setenv("TZ", old.c_str(), 1) : unsetenv("TZ");
  tzset();
}

TEST_CASE("a newline in a date is refused") {
  CHECK_FALSE(TimeFormat::parse("%n", false).ok());
  CHECK_FALSE(TimeFormat::parse("%H%_En", false).ok());
}
