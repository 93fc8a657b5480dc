#include "http/query.h"

namespace sluice::http {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.' || c == '~';
}

// f(name, value), both as they stand there, until it returns true.
template <typename F>
bool find_parameter(std::string_view query, F f) {
  while (!query.empty()) {
    size_t end = query.find('&');
    std::string_view item = query.substr(0, end);
    query = end == query.npos ? std::string_view{} : query.substr(end + 1);
    size_t equal = item.find('=');
    std::string_view value = equal == item.npos ? std::string_view{} : item.substr(equal + 1);
    if (f(item.substr(0, equal), value)) return true;
  }
  return false;
}

}  // namespace

std::optional<std::string_view> query_of(std::string_view path) {
  size_t mark = path.find('?');
  if (mark == path.npos) return std::nullopt;
  return path.substr(mark + 1);
}

std::string_view without_query(std::string_view path) {
  return path.substr(0, path.find('?'));
}

void percent_decode(std::string_view text, std::string& out) {
  for (size_t i = 0; i < text.size(); ++i) {
    int high = text[i] == '%' && i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    int low = high >= 0 ? hex_value(text[i + 2]) : -1;
    if (low >= 0) {
      out += static_cast<char>(high << 4 | low);
      i += 2;
    } else {
      out += text[i];
    }
  }
}

void percent_encode(std::string_view text, std::string& out) {
  for (char c : text) {
    if (unreserved(c)) {
      out += c;
      continue;
    }
    auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += "0123456789ABCDEF"[byte >> 4];
    out += "0123456789ABCDEF"[byte & 15];
  }
}

QueryParameters parse_query(std::string_view query) {
  QueryParameters out;
  find_parameter(query, [&](std::string_view name, std::string_view value) {
    auto& [decoded_name, decoded_value] = out.emplace_back();
    percent_decode(name, decoded_name);
    percent_decode(value, decoded_value);
    return false;
  });
  return out;
}

bool append_query_value(std::string_view query, std::string_view name, std::string& out) {
  thread_local std::string decoded;
  return find_parameter(query, [&](std::string_view raw_name, std::string_view value) {
    decoded.clear();
    percent_decode(raw_name, decoded);
    if (decoded != name) return false;
    percent_decode(value, out);
    return true;
  });
}

std::string replace_query(std::string_view path, const QueryParameters& parameters) {
  std::string out(without_query(path));
  char separator = '?';
  for (auto& [name, value] : parameters) {
    out += std::exchange(separator, '&');
    percent_encode(name, out);
    out += '=';
    percent_encode(value, out);
  }
  return out;
}

}  // namespace sluice::http
