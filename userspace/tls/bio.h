#pragma once

#include <cstdint>

#include "core/buffer.h"
#include "tls/openssl.h"

namespace sluice::tls {

// Where the library's bytes come from and go to while a connection's socket is at work. It is given records when they are
// there as a whole, so that half a record waits in the receive buffer and not in a buffer of the library's.
struct Wire {
  Buffer* in = nullptr;
  Buffer* out = nullptr;
  BlockPool* blocks = nullptr;
  uint32_t left = 0;  // bytes of the record at the front of `in` that the library has not read
  uint32_t quiet = 0;  // records in a row that brought the application nothing
  uint32_t quiet_limit = UINT32_MAX;
  bool flooded = false;  // a record was refused because of quiet_limit
  bool raw = false;  // not TLS records: the library is to say what is wrong with it

  // Something is there that the library could use.
  bool readable() const;
};

BioPtr make_bio(Wire* wire);  // `wire` outlives it

}  // namespace sluice::tls
