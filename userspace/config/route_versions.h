#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/factory_context.h"
#include "config/honoured.h"
#include "config/translate_route.h"
#include "model/route.h"

namespace sluice::config {

// The versions of one RouteConfiguration that is pushed again and again. Virtual hosts whose bytes are those of the version
// before are shared with it: neither parsed, nor checked, nor translated, and what filters keep in them goes on. All others
// take the steps of Resources::routes().
class RouteVersions {
 public:
  // As RDS has it: unless the message says so, clusters need not exist. Null where something is wrong; nothing has changed
  // then, and Resources::routes(), which reads the whole message, says what it is.
  std::shared_ptr<const model::RouteConfig> next(std::shared_ptr<const std::string> bytes,
                                                 const HonouredFields& honoured, FactoryContext& context);

 private:
  static constexpr size_t kNew = SIZE_MAX;
  // A message as it lies in its bytes.
  struct Parts {
    std::vector<std::string_view> hosts;  // the content
    std::vector<std::string_view> fields;  // the same with tag and length
    std::string rest;  // what stands beside them
    bool take_apart(std::string_view bytes);
  };
  // The rest and the new ones of `now`; nothing: something is wrong.
  static std::optional<TranslatedRoutes> make(const Parts& now, const std::vector<size_t>& from,
                                              const HonouredFields& honoured, FactoryContext& context);
  // By virtual host of `now`: which one of `now_` it is; or kNew.
  std::vector<size_t> find_again(const Parts& now, const HasCluster& has_cluster) const;
  bool still_good(size_t host, const HasCluster& has_cluster) const;

  std::shared_ptr<const std::string> bytes_;
  Parts now_;  // of `bytes_`
  std::vector<FromOutside> outside_;  // by virtual host
  bool rest_from_files_ = false;
  std::shared_ptr<const model::RouteConfig> config_;  // null: there is none yet
};

}  // namespace sluice::config
