#include "http/http1_writer.h"

#include <charconv>

#include "http/http1_chars.h"

namespace sluice::http::http1 {
namespace {

struct Phrase {
  uint16_t status;
  std::string_view text;
};
// The likely ones first.
constexpr Phrase kPhrases[] = {
    {200, "OK"},
    {100, "Continue"},
    {101, "Switching Protocols"},
    {102, "Processing"},
    {103, "Early Hints"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {208, "Already Reported"},
    {226, "IM Used"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {305, "Use Proxy"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Payload Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Entity"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {506, "Variant Also Negotiates"},
    {507, "Insufficient Storage"},
    {508, "Loop Detected"},
    {510, "Not Extended"},
    {511, "Network Authentication Required"},
};

}  // namespace

void Writer::begin(BlockPool& pool, size_t bound) {
  if (rest_.empty() || rest_.size() < bound) {
    auto size = static_cast<uint32_t>(bound <= BlockPool::kSmall    ? BlockPool::kSmall
                                      : bound <= BlockPool::kMedium ? BlockPool::kMedium
                                                                    : bound);
    Block* block = pool.get(size);
    rest_ = Chunk(block, 0, block->capacity);
  }
  p_ = begin_ = reinterpret_cast<char*>(rest_.data());
}

void Writer::number(uint64_t n) {
  p_ = std::to_chars(p_, begin_ + rest_.size(), n).ptr;
}

void Writer::field(std::string_view name, std::string_view value) {
  assert(static_cast<size_t>(p_ - begin_) + name.size() + value.size() + 4 <= rest_.size());
  if (format_ == Http1Options::KeyFormat::lower) {
    text(name);
  } else {
    // Envoy's ProperCaseHeaderKeyFormatter: upper case behind everything that is no letter or digit.
    bool up = true;
    for (char c : name) {
      *p_++ = up && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
      up = !internal::is_alnum(static_cast<unsigned char>(c));
    }
  }
  *p_++ = ':';
  *p_++ = ' ';
  if (!copy_value(p_, value.data(), value.size()))
    for (char *stop = p_, *end = p_ + value.size();
         (stop = const_cast<char*>(find_value_stop(stop, end))) != end;)
      *stop++ = ' ';
  p_ += value.size();
  *p_++ = '\r';
  *p_++ = '\n';
}

void Writer::target(std::string_view s) {
  const char* p = s.data();
  const char* const end = p + s.size();
  for (;;) {
    const char* stop = find_target_stop(p, end);
    text({p, static_cast<size_t>(stop - p)});
    if (stop == end) return;
    constexpr char kDigits[] = "0123456789ABCDEF";
    auto c = static_cast<unsigned char>(*stop);
    char encoded[] = {'%', kDigits[c >> 4], kDigits[c & 15]};
    text({encoded, 3});
    p = stop + 1;
  }
}

void Writer::end(Buffer& out) {
  auto n = static_cast<uint32_t>(p_ - begin_);
  if (n == rest_.size()) {
    out.append(std::move(rest_));
    rest_ = Chunk();
    return;
  }
  out.append(rest_.share(0, n));
  rest_.drop_front(n);
}

size_t fields_bound(const HeaderMap& headers) {
  return headers.bytes() + 4 * headers.size();
}

std::string_view reason_phrase(uint32_t status) {
  for (const Phrase& p : kPhrases)
    if (p.status == status) return p.text;
  return "Unknown";
}

}  // namespace sluice::http::http1
