#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The little of HTTP/1.1 (RFC 9112) that an admin interface needs, without sockets: bytes in, requests out.
namespace sluice::admin {

struct Request {
  std::string method;                                      // "GET"; upper case as sent
  std::string path;                                        // decoded, without the query
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in order; "" for a name without "="
  std::string body;
  bool keep_alive = true;
  bool local = false;  // came over a Unix socket

  bool has(std::string_view name) const;
  std::string_view get(std::string_view name) const;  // the first of that name, or ""
};

struct Response {
  int status = 200;
  std::string body;
  std::string content_type = "text/plain; charset=UTF-8";
  static Response text(int status, std::string body) {
    return {status, std::move(body), "text/plain; charset=UTF-8"};
  }
  static Response json(std::string body) { return {200, std::move(body), "application/json"}; }
};

std::string_view reason(int status);

// The whole response as bytes. `head_only`: for HEAD. `date`: an IMF-fixdate.
std::string serialize(const Response& response, std::string_view date, bool keep_alive, bool head_only);

// Takes one request at a time out of a stream of bytes. Strict: what is not plainly HTTP/1.1 is refused,
// because leniency towards a control interface helps nobody but an attacker.
class RequestParser {
 public:
  static constexpr size_t kHeadMax = 16 * 1024;
  static constexpr size_t kBodyMax = 1024 * 1024;
  enum class Status : uint8_t { need_more, complete, bad };

  // `bytes`: all that has arrived and was not consumed. complete: request() is set and consumed() bytes of it
  // are used up. bad: error() is the response to send before closing.
  Status parse(std::string_view bytes);
  Request& request() { return request_; }
  size_t consumed() const { return consumed_; }
  const Response& error() const { return error_; }

 private:
  Status fail(int status, std::string_view why);
  Status parse_head(std::string_view head);
  bool parse_target(std::string_view target);

  Request request_;
  Response error_;
  size_t consumed_ = 0;
  size_t content_length_ = 0;
};

// Decodes %XX, and "+" as a blank in queries; false: not valid.
bool percent_decode(std::string_view in, bool plus_is_blank, std::string& out);

}  // namespace sluice::admin
