#include "extensions/access_loggers/common/time_format.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <ctime>

namespace sluice::access_loggers {
namespace {

constexpr int64_t kNanos = 1'000'000'000;

void append_padded(std::string& out, uint64_t value, unsigned width) {
  char digits[20];
  for (unsigned i = width; i-- > 0; value /= 10) digits[i] = static_cast<char>('0' + value % 10);
  out.append(digits, width);
}

// The first `digits` of nine digits of nanoseconds.
void append_fraction(std::string& out, int64_t nanos, unsigned digits) {
  for (unsigned i = digits; i < 9; ++i) nanos /= 10;
  append_padded(out, static_cast<uint64_t>(nanos), digits);
}

unsigned digits_needed(int64_t nanos) {
  unsigned digits = 9;
  while (digits > 0 && nanos % 10 == 0) nanos /= 10, --digits;
  return digits;
}

// Days since 1970-01-01 to a civil date (the proleptic Gregorian calendar counted in eras of 400 years from 1
// March).
void append_default_utc(std::string& out, int64_t seconds, int64_t nanos) {
  int64_t days = seconds / 86400, rest = seconds % 86400;
  if (rest < 0) rest += 86400, --days;
  int64_t shifted = days + 719468;
  int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
  int64_t day_of_era = shifted - era * 146097;
  int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  int64_t march_month = (5 * day_of_year + 2) / 153;
  int64_t day = day_of_year - (153 * march_month + 2) / 5 + 1;
  int64_t month = march_month < 10 ? march_month + 3 : march_month - 9;
  int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  append_padded(out, static_cast<uint64_t>(year), 4);
  out += '-';
  append_padded(out, static_cast<uint64_t>(month), 2);
  out += '-';
  append_padded(out, static_cast<uint64_t>(day), 2);
  out += 'T';
  append_padded(out, static_cast<uint64_t>(rest / 3600), 2);
  out += ':';
  append_padded(out, static_cast<uint64_t>(rest / 60 % 60), 2);
  out += ':';
  append_padded(out, static_cast<uint64_t>(rest % 60), 2);
  out += '.';
  append_fraction(out, nanos, 3);
  out += 'Z';
}

void append_offset(std::string& out, long seconds_east) {
  out += seconds_east < 0 ? '-' : '+';
  uint64_t minutes = static_cast<uint64_t>(std::labs(seconds_east)) / 60;
  append_padded(out, minutes / 60, 2);
  out += ':';
  append_padded(out, minutes % 60, 2);
}

}  // namespace

void TimeFormat::append_run(Kind kind, std::string_view text) {
  if (parts_.empty() || parts_.back().kind != kind) parts_.push_back({kind, 0, {}});
  parts_.back().text += text;
}

Result<TimeFormat> TimeFormat::parse(std::string_view format, bool local) {
  TimeFormat f;
  f.local_ = local;
  if (format.empty()) {
    if (!local) {
      f.parts_.push_back({Kind::default_utc, 0, {}});
      return f;
    }
    format = "%Y-%m-%dT%H:%M:%E3S%z";
  }
  for (size_t i = 0; i < format.size();) {
    if (format[i] != '%' || i + 1 == format.size()) {
      f.append_run(Kind::literal, format.substr(i++, 1));
      continue;
    }
    auto at = [&](size_t k) { return i + k < format.size() ? format[i + k] : '\0'; };
    auto digit = [&](size_t k) { return at(k) >= '1' && at(k) <= '9'; };
    auto take = [&](Kind kind, unsigned digits, size_t length) {
      f.parts_.push_back({kind, static_cast<uint8_t>(digits), {}});
      i += length;
    };
    size_t modifiers = 1;
    while (at(modifiers) != '\0' && std::string_view("-_0^#EO").find(at(modifiers)) != std::string_view::npos)
      ++modifiers;
    if (at(modifiers) == 'n') {
      return Error{"date format \"" + std::string(format) +
                   "\": %n (a newline) is not allowed; end the line in the log format itself"};
    }
    if (at(1) == '%') {
      f.append_run(Kind::literal, "%");
      i += 2;
    } else if (at(1) == 's') {
      take(Kind::epoch_seconds, 0, 2);
    } else if (at(1) == 'f') {
      take(Kind::fraction, 9, 2);
    } else if (digit(1) && at(2) == 'f') {
      take(Kind::fraction, static_cast<unsigned>(at(1) - '0'), 3);
    } else if (at(1) == 'E' && digit(2) && at(3) == 'f') {
      take(Kind::fraction, static_cast<unsigned>(at(2) - '0'), 4);
    } else if (at(1) == 'E' && (digit(2) || at(2) == '*') && at(3) == 'S') {
      take(Kind::seconds_fraction, at(2) == '*' ? 0 : static_cast<unsigned>(at(2) - '0'), 4);
    } else if (at(1) == 'E' && at(2) == 'z') {
      take(Kind::offset, 0, 3);
    } else if (at(1) == 'E' && at(2) == '4' && at(3) == 'Y') {
      f.append_run(Kind::strftime, "%Y");
      i += 4;
    } else {
      size_t length = std::min(modifiers + 1, format.size() - i);
      f.append_run(Kind::strftime, format.substr(i, length));
      i += length;
    }
  }
  return f;
}

void TimeFormat::append(WallTime time, std::string& out) const {
  int64_t total = time.time_since_epoch().count();
  int64_t seconds = total / kNanos, nanos = total % kNanos;
  if (nanos < 0) nanos += kNanos, --seconds;
  std::tm tm{};
  bool broken_down = false;
  for (const Part& p : parts_) {
    if (!broken_down &&
        (p.kind == Kind::strftime || p.kind == Kind::seconds_fraction || p.kind == Kind::offset)) {
      std::time_t t = seconds;
      local_ ? localtime_r(&t, &tm) : gmtime_r(&t, &tm);
      if (!local_) tm.tm_zone = "UTC";
      broken_down = true;
    }
    switch (p.kind) {
      case Kind::literal:
        out += p.text;
        break;
      case Kind::strftime: {
        char text[256];
        out.append(text, std::strftime(text, sizeof text, p.text.c_str(), &tm));
        break;
      }
      case Kind::epoch_seconds: {
        char text[24];
        out.append(text, std::to_chars(text, text + sizeof text, seconds).ptr);
        break;
      }
      case Kind::fraction:
        append_fraction(out, nanos, p.digits);
        break;
      case Kind::seconds_fraction: {
        append_padded(out, static_cast<uint64_t>(tm.tm_sec), 2);
        unsigned digits = p.digits ? p.digits : digits_needed(nanos);
        if (digits == 0) break;
        out += '.';
        append_fraction(out, nanos, digits);
        break;
      }
      case Kind::offset:
        append_offset(out, tm.tm_gmtoff);
        break;
      case Kind::default_utc:
        append_default_utc(out, seconds, nanos);
        break;
    }
  }
}

}  // namespace sluice::access_loggers
