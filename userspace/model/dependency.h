#pragma once

#include <string>

namespace sluice::model {

// Something that is discovered beside a listener, and without which it does not serve (Envoy: an init target).
class Dependency {
 public:
  virtual ~Dependency() = default;
  // There, or given up (initial_fetch_timeout, a first answer that was refused). Control thread.
  virtual bool ready() const = 0;
  // For people: "routes 'local' (rds)".
  virtual std::string what() const = 0;
};

}  // namespace sluice::model
