#pragma once

#include <string>
#include <string_view>

namespace sluice::extensions {

// PEM as Envoy puts it into headers and logs: of what is in it, these five characters alone are escaped.
inline void append_url_encoded_pem(std::string_view pem, std::string& out) {
  for (char c : pem) {
    switch (c) {
      case '\n':
        out += "%0A";
        break;
      case ' ':
        out += "%20";
        break;
      case '+':
        out += "%2B";
        break;
      case '/':
        out += "%2F";
        break;
      case '=':
        out += "%3D";
        break;
      default:
        out += c;
    }
  }
}

}  // namespace sluice::extensions
