#include "server/admin/http.h"

#include <algorithm>
#include <charconv>

#include "core/ascii.h"

namespace sluice::admin {
namespace {

bool token_char(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool token(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), token_char);
}

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool Request::has(std::string_view name) const {
  return std::any_of(query.begin(), query.end(), [&](const auto& q) { return q.first == name; });
}

std::string_view Request::get(std::string_view name) const {
  for (const auto& [key, value] : query) {
    if (key == name) return value;
  }
  return {};
}

std::string_view reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "";
  }
}

std::string serialize(const Response& r, std::string_view date, bool keep_alive, bool head_only) {
  std::string out = "HTTP/1.1 " + std::to_string(r.status) + " ";
  out += reason(r.status);
  out += "\r\ncontent-type: " + r.content_type;
  out += "\r\ncache-control: no-cache, max-age=0\r\nx-content-type-options: nosniff\r\ndate: ";
  out += date;
  out += "\r\nserver: sluice\r\ncontent-length: " + std::to_string(r.body.size());
  if (!keep_alive) out += "\r\nconnection: close";
  out += "\r\n\r\n";
  if (!head_only) out += r.body;
  return out;
}

bool percent_decode(std::string_view in, bool plus_is_blank, std::string& out) {
  out.clear();
  for (size_t i = 0; i < in.size(); ++i) {
    if (in[i] == '%') {
      if (i + 2 >= in.size() || hex(in[i + 1]) < 0 || hex(in[i + 2]) < 0) return false;
      out += static_cast<char>(hex(in[i + 1]) * 16 + hex(in[i + 2]));
      i += 2;
    } else {
      out += plus_is_blank && in[i] == '+' ? ' ' : in[i];
    }
  }
  return true;
}

RequestParser::Status RequestParser::fail(int status, std::string_view why) {
  error_ = Response::text(status, std::string(why) + "\n");
  return Status::bad;
}

bool RequestParser::parse_target(std::string_view target) {
  if (target.starts_with("http://")) {  // absolute-form: a proxy's, but it must be accepted
    size_t slash = target.find('/', 7);
    target = slash == target.npos ? "/" : target.substr(slash);
  }
  if (!target.starts_with('/')) return false;
  for (char c : target) {
    if (static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7f) return false;
  }
  target = target.substr(0, target.find('#'));
  size_t question = target.find('?');
  if (!percent_decode(target.substr(0, question), false, request_.path)) return false;
  if (question == target.npos) return true;
  std::string_view rest = target.substr(question + 1);
  while (!rest.empty()) {
    std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
    if (pair.empty()) continue;
    size_t equals = pair.find('=');
    auto& [name, value] = request_.query.emplace_back();
    if (!percent_decode(pair.substr(0, equals), true, name)) return false;
    if (equals != pair.npos && !percent_decode(pair.substr(equals + 1), true, value)) return false;
  }
  return true;
}

RequestParser::Status RequestParser::parse_head(std::string_view head) {
  std::string_view line = head.substr(0, head.find("\r\n"));
  size_t first = line.find(' '), last = line.rfind(' ');
  if (first == line.npos || first == last) return fail(400, "the request line is not METHOD TARGET HTTP/1.1");
  std::string_view method = line.substr(0, first), version = line.substr(last + 1);
  if (!token(method)) return fail(400, "the method is not a token");
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return fail(version.starts_with("HTTP/") ? 505 : 400, "this interface speaks HTTP/1.1");
  }
  request_.method = method;
  request_.keep_alive = version == "HTTP/1.1";
  if (!parse_target(line.substr(first + 1, last - first - 1)))
    return fail(400, "the request target is not a valid path");

  bool host = false, length = false;
  for (size_t at = line.size() + 2; at < head.size();) {
    line = head.substr(at, head.find("\r\n", at) - at);
    at += line.size() + 2;
    size_t colon = line.find(':');
    if (colon == line.npos || !token(line.substr(0, colon)))
      return fail(400, "a header line is not NAME: VALUE");
    std::string_view name = line.substr(0, colon), value = trimmed(line.substr(colon + 1));
    for (char c : value) {
      if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f)
        return fail(400, "a header has a control character");
    }
    if (equal_ignoring_case(name, "transfer-encoding"))
      return fail(501, "send a content-length; transfer-encoding is not accepted");
    if (equal_ignoring_case(name, "host")) {
      if (std::exchange(host, true)) return fail(400, "more than one host header");
    } else if (equal_ignoring_case(name, "connection")) {
      if (equal_ignoring_case(value, "close")) request_.keep_alive = false;
    } else if (equal_ignoring_case(name, "content-length")) {
      if (std::exchange(length, true)) return fail(400, "more than one content-length");
      auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), content_length_);
      if (value.empty() || end != value.data() + value.size())
        return fail(400, "content-length is not a number");
      if (error != std::errc{} || content_length_ > kBodyMax) {
        return fail(413, "the body may have " + std::to_string(kBodyMax) + " bytes at most");
      }
    }
  }
  if (version == "HTTP/1.1" && !host) return fail(400, "HTTP/1.1 wants a host header");
  return Status::complete;
}

RequestParser::Status RequestParser::parse(std::string_view bytes) {
  request_ = {};
  content_length_ = 0;
  size_t start = 0;
  while (bytes.substr(start, 2) == "\r\n" && start < 4)
    start += 2;  // RFC 9112 2.2: blank lines before a request
  std::string_view rest = bytes.substr(start);
  size_t end = rest.substr(0, kHeadMax).find("\r\n\r\n");
  if (end == rest.npos) {
    if (rest.size() >= kHeadMax)
      return fail(431, "the request's head may have " + std::to_string(kHeadMax) + " bytes at most");
    // A first line that can never become a request line need not be waited for.
    if (!rest.empty() && !token_char(rest.front())) return fail(400, "this is not HTTP/1.1");
    return Status::need_more;
  }
  if (Status s = parse_head(rest.substr(0, end)); s == Status::bad) return s;
  if (rest.size() - end - 4 < content_length_) return Status::need_more;
  request_.body = rest.substr(end + 4, content_length_);
  consumed_ = start + end + 4 + content_length_;
  return Status::complete;
}

}  // namespace sluice::admin
