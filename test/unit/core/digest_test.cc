#include "core/digest.h"

#include <doctest/doctest.h>

#include <string>

using namespace sluice;

TEST_CASE("MD5: the vectors of RFC 1321 appendix A.5, and every length around a block") {
  CHECK(md5_hex("") == "d41d8cd98f00b204e9800998ecf8427e");
  CHECK(md5_hex("a") == "0cc175b9c0f1b6a831c399e269772661");
  CHECK(md5_hex("message digest") == "f96b697d7cb7938d525a2f31aaf161d0");
  CHECK(md5_hex("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") ==
        "d174ab98d277d9f5a5611c2c9f419d9f");
  CHECK(md5_hex("12345678901234567890123456789012345678901234567890123456789012345678901234567890") ==
        "57edf4a22be3c955ac49da2e2107b67a");
  // Of python's hashlib: the digests of 0 to 129 times "a", one after the other.
  std::string all;
  for (size_t n = 0; n < 130; ++n) all += md5_hex(std::string(n, 'a'));
  CHECK(md5_hex(all) == "8e96233fcf7b25e501680d371857c2ee");
}

TEST_CASE("SHA-256: the vectors of FIPS 180-4, and every length around a block") {
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256_hex(std::string(1000000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  std::string all;
  for (size_t n = 0; n < 130; ++n) all += sha256_hex(std::string(n, 'a'));
  CHECK(sha256_hex(all) == "c665ed20ef30f158e90c7e921d8182bc0943c4b087a82f64a18d417bcdfadce7");
}
