#include "tls/ocsp.h"

#include <openssl/bn.h>
#include <openssl/ocsp.h>

#include <algorithm>
#include <cctype>

#include "core/ascii.h"
#include "tls/errors.h"

namespace sluice::tls {

Result<OcspResponse> parse_ocsp(const std::string& der) {
  const auto* p = reinterpret_cast<const uint8_t*>(der.data());
  const auto* end = p + der.size();
  Owned<OCSP_RESPONSE, OCSP_RESPONSE_free> response(
      d2i_OCSP_RESPONSE(nullptr, &p, static_cast<long>(der.size())));
  clear_errors();
  if (!response) return Error{"OCSP Response is not a well-formed ASN.1 SEQUENCE"};
  if (p != end) return Error{"Data contained more than a single OCSP response"};
  if (OCSP_response_status(response.get()) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
    return Error{"OCSP response was unsuccessful"};
  Owned<OCSP_BASICRESP, OCSP_BASICRESP_free> basic(OCSP_response_get1_basic(response.get()));
  clear_errors();
  if (!basic) return Error{"OCSP response has no body"};
  if (OCSP_resp_count(basic.get()) != 1) return Error{"OCSP Response must be for one certificate only"};
  OCSP_SINGLERESP* one = OCSP_resp_get0(basic.get(), 0);
  OcspResponse out{.der = der, .serial = {}, .next_update = {}};
  ASN1_INTEGER* serial = nullptr;
  OCSP_id_get0_info(nullptr, nullptr, nullptr, &serial,
                    const_cast<OCSP_CERTID*>(OCSP_SINGLERESP_get0_id(one)));
  BIGNUM* number = serial ? ASN1_INTEGER_to_BN(serial, nullptr) : nullptr;
  char* text = number ? BN_bn2hex(number) : nullptr;
  BN_free(number);
  if (text) {
    out.serial = to_lower(std::string_view(text));
    OPENSSL_free(text);
  }
  ASN1_GENERALIZEDTIME* next = nullptr;
  OCSP_single_get0_status(one, nullptr, nullptr, nullptr, &next);
  if (next) out.next_update = to_wall(next);
  return out;
}

}  // namespace sluice::tls
