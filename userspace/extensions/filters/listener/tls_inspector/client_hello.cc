#include "extensions/filters/listener/tls_inspector/client_hello.h"

#include <algorithm>
#include <bitset>
#include <cstdio>

#include "extensions/filters/listener/tls_inspector/reader.h"

namespace sluice::extensions::tls_inspector {
namespace {

// RFC 8446 section 5.1, and RFC 5246's ciphertext limit with what BoringSSL adds for its largest MAC.
constexpr size_t kRecordHeader = 5;
constexpr size_t kCiphertextMax = 16384 + 256 + 64;
constexpr size_t kMessageHeader = 4;
constexpr size_t kMessageMax = 16384;
constexpr size_t kSslv2Max = 4096;
constexpr uint8_t kAlert = 21, kHandshake = 22;
constexpr uint8_t kClientHello = 1;
constexpr uint16_t kServerName = 0, kAlpn = 16, kEncryptedClientHello = 0xfe0d;
constexpr uint8_t kEmptyRecordsMax = 32, kWarningsMax = 4;

uint8_t byte_at(std::string_view bytes, size_t i) {
  return static_cast<uint8_t>(bytes[i]);
}

// Walks over extensions; f(type, data). False: they are broken.
template <typename F>
bool each_extension(std::string_view extensions, F f) {
  Reader in(extensions);
  while (!in.empty()) {
    uint16_t type = 0;
    std::string_view data;
    if (!in.number<2>(type) || !in.vector<2>(data)) return false;
    if (!f(type, data)) return false;
  }
  return true;
}

// RFC 5246 section 7.4.1.4: none twice.
bool well_formed(std::string_view extensions) {
  std::bitset<65536> seen;
  return each_extension(extensions, [&](uint16_t type, std::string_view) {
    if (seen[type]) return false;
    seen[type] = true;
    return true;
  });
}

// RFC 6066 section 3, of one name of type host_name, because nobody has ever known another.
bool parse_server_name(std::string_view data, std::string_view& out) {
  Reader in(data);
  std::string_view list;
  if (!in.vector<2>(list) || !in.empty()) return false;
  Reader names(list);
  uint8_t type = 0;
  if (!names.number<1>(type) || !names.vector<2>(out) || !names.empty()) return false;
  return type == 0 && !out.empty() && out.size() <= 255 && out.find('\0') == out.npos;
}

// RFC 9849 section 5: the outer form, which has to be whole although nobody here can open it; or the inner one.
bool parse_encrypted_hello(std::string_view data) {
  Reader in(data);
  uint8_t type = 0;
  if (!in.number<1>(type)) return false;
  if (type != 0) return true;
  uint32_t suite = 0;
  uint8_t config = 0;
  std::string_view encapsulated, payload;
  return in.number<4>(suite) && in.number<1>(config) && in.vector<2>(encapsulated) && in.vector<2>(payload) &&
         in.empty();
}

}  // namespace

std::optional<std::string_view> ClientHello::extension(uint16_t type) const {
  std::optional<std::string_view> found;
  each_extension(extensions, [&](uint16_t t, std::string_view data) {
    if (t == type) found = data;
    return t != type;
  });
  return found;
}

std::vector<std::string> ClientHello::application_protocols() const {
  const auto data = extension(kAlpn);
  std::string_view list, name;
  if (!data) return {};
  Reader in(*data);
  if (!in.vector<2>(list) || !in.empty()) return {};
  std::vector<std::string> out;
  for (Reader names(list); !names.empty();) {
    if (!names.vector<1>(name) || name.empty()) return {};
    out.emplace_back(name);
  }
  return out;
}

std::string Refusal::text() const {
  char code[16];
  std::snprintf(code, sizeof code, "%08x", 0x10000000u | number);  // 16 << 24: the library "SSL"
  std::string out = "TLS_error|error:";
  out.append(code).append(":SSL routines:OPENSSL_internal:");
  if (name.empty())
    out.append("reason(").append(std::to_string(number)).append(")");
  else
    out.append(name);
  return out.append(":TLS_error_end");
}

HelloReader::Result HelloReader::refuse(uint16_t number, std::string_view name) {
  refusal_ = {number, name};
  return Result::refused;
}

HelloReader::Result HelloReader::read(std::string_view bytes) {
  for (;;) {
    // A message that says it is too long is refused before the rest of it is waited for.
    if (message_.size() >= kMessageHeader) {
      Reader header(message_);
      uint32_t size = 0;
      if (header.number<4>(size) && (size & 0xffffff) > kMessageMax)
        return refuse(0x96, "EXCESSIVE_MESSAGE_SIZE");
    }
    consumed_ = bytes.size();  // as long as nothing says otherwise
    if (bytes.size() - at_ < kRecordHeader) return Result::need_more;
    const Result result = read_record(bytes);
    // Taken whole, and it was not the last of the message.
    if (result == Result::need_more && consumed_ == at_ && at_ != 0) continue;
    return result;
  }
}

HelloReader::Result HelloReader::read_record(std::string_view bytes) {
  if (first_) {
    if (bytes.starts_with("GET ") || bytes.starts_with("POST ") || bytes.starts_with("HEAD ") ||
        bytes.starts_with("PUT "))
      return consumed_ = kRecordHeader, refuse(0x9c, "HTTP_REQUEST");
    if (bytes.starts_with("CONNE")) return consumed_ = kRecordHeader, refuse(0x9b, "HTTPS_PROXY_REQUEST");
    if ((byte_at(bytes, 0) & 0x80) != 0 && bytes[2] == kClientHello && bytes[3] == 3)
      return read_sslv2(bytes);
    first_ = false;
  }
  Reader in(bytes.substr(at_));
  uint8_t type = 0, major = 0, minor = 0;
  uint16_t size = 0;
  in.number<1>(type), in.number<1>(major), in.number<1>(minor), in.number<2>(size);
  if (major != 3) return consumed_ = at_ + kRecordHeader, refuse(0xf7, "WRONG_VERSION_NUMBER");
  if (size > kCiphertextMax)
    return consumed_ = at_ + kRecordHeader, refuse(0x92, "ENCRYPTED_LENGTH_TOO_LONG");
  std::string_view body;
  if (!in.bytes(size, body)) return Result::need_more;
  at_ += kRecordHeader + size;
  consumed_ = at_;
  if (body.empty() && ++empty_records_ > kEmptyRecordsMax) return refuse(0xdb, "TOO_MANY_EMPTY_FRAGMENTS");
  if (type == kAlert) return read_alert(body);
  if (type != kHandshake) return refuse(0xe1, "UNEXPECTED_RECORD");
  if (!body.empty()) empty_records_ = warnings_ = 0;
  if (message_.empty()) {
    // The usual case: one record has all of it, and nothing need be copied.
    const Result result = read_message(body);
    if (result == Result::need_more) message_ = body;
    return result;
  }
  message_ += body;
  return read_message(message_);
}

HelloReader::Result HelloReader::read_alert(std::string_view body) {
  if (body.size() != 2) return refuse(0x66, "BAD_ALERT");
  if (body[0] == 2) return refuse(static_cast<uint16_t>(1000 + byte_at(body, 1)), "");
  if (body[0] != 1) return refuse(0xe3, "UNKNOWN_ALERT_TYPE");
  if (body[1] == 0) return Result::closed;
  if (++warnings_ > kWarningsMax) return refuse(0xdc, "TOO_MANY_WARNING_ALERTS");
  return Result::need_more;
}

// Made into the ClientHello that says the same: SSLv2's own ciphers left out, without extensions.
HelloReader::Result HelloReader::read_sslv2(std::string_view bytes) {
  const size_t size = static_cast<size_t>(byte_at(bytes, 0) & 0x7f) << 8 | byte_at(bytes, 1);
  if (size > kSslv2Max) return consumed_ = kRecordHeader, refuse(0xc8, "RECORD_TOO_LARGE");
  if (size < kRecordHeader - 2) return consumed_ = kRecordHeader, refuse(0xc7, "RECORD_LENGTH_MISMATCH");
  if (bytes.size() < 2 + size) return Result::need_more;
  consumed_ = 2 + size;
  Reader in(bytes.substr(3, size - 1));  // behind the type
  uint16_t version = 0, ciphers_size = 0, session_size = 0, challenge_size = 0;
  std::string_view ciphers, session, challenge;
  if (!in.number<2>(version) || !in.number<2>(ciphers_size) || !in.number<2>(session_size) ||
      !in.number<2>(challenge_size) || !in.bytes(ciphers_size, ciphers) || !in.bytes(session_size, session) ||
      !in.bytes(challenge_size, challenge) || !in.empty() || ciphers_size % 3 != 0)
    return refuse(0x89, "DECODE_ERROR");
  message_.assign(ciphers.size() / 3 * 2, '\0');
  size_t kept = 0;
  for (size_t i = 0; i < ciphers.size(); i += 3) {
    if (ciphers[i] != 0) continue;
    message_[kept++] = ciphers[i + 1], message_[kept++] = ciphers[i + 2];
  }
  message_.resize(kept);
  if (kept == 0) return refuse(0x83, "CLIENTHELLO_PARSE_FAILED");
  hello_ = {.version = version, .ciphers = message_, .extensions = {}, .server_name = {}};
  return Result::hello;
}

HelloReader::Result HelloReader::read_message(std::string_view message) {
  Reader in(message);
  uint8_t type = 0;
  std::string_view body;
  if (!in.number<1>(type) || !in.vector<3>(body)) return Result::need_more;
  if (type != kClientHello) return refuse(0xdf, "UNEXPECTED_MESSAGE");
  if (!parse(body)) return refuse(0x83, "CLIENTHELLO_PARSE_FAILED");
  if (!in.empty()) return refuse(0xff, "EXCESS_HANDSHAKE_DATA");
  if (auto data = hello_.extension(kEncryptedClientHello); data && !parse_encrypted_hello(*data))
    return refuse(0x89, "DECODE_ERROR");
  if (auto data = hello_.extension(kServerName); data && !parse_server_name(*data, hello_.server_name))
    return refuse(0x95, "ERROR_PARSING_EXTENSION");
  return Result::hello;
}

bool HelloReader::parse(std::string_view body) {
  Reader in(body);
  std::string_view random, session, compression;
  hello_ = {};
  if (!in.number<2>(hello_.version) || !in.bytes(32, random) || !in.vector<1>(session) || session.size() > 32)
    return false;
  if (!in.vector<2>(hello_.ciphers) || hello_.ciphers.size() < 2 || hello_.ciphers.size() % 2 != 0)
    return false;
  if (!in.vector<1>(compression) || compression.empty()) return false;
  if (in.empty()) return true;  // from before there were extensions
  return in.vector<2>(hello_.extensions) && in.empty() && well_formed(hello_.extensions);
}

}  // namespace sluice::extensions::tls_inspector
