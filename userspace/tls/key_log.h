#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/address.h"
#include "core/fd.h"
#include "core/result.h"
#include "tls/settings.h"

namespace sluice::tls {

// The secrets of connections in a file, for debugging alone: NSS' format, as Wireshark reads it.
// https://www.ietf.org/archive/id/draft-thomson-tls-keylogfile-00.html
class KeyLog {
 public:
  // Null where none is configured. An error where the file cannot be opened.
  static Result<std::shared_ptr<KeyLog>> make(const CommonSettings::KeyLog& settings);
  // Addresses that are not known (null) match an empty list alone.
  bool wants(const Address* local, const Address* remote) const;
  void write(std::string_view line);  // without its newline; whole lines, also beside other threads' writes

 private:
  CommonSettings::KeyLog settings_;
  Fd file_;
};

}  // namespace sluice::tls
