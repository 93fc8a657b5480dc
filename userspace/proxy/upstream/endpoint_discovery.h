#pragma once

#include <memory>

#include "core/result.h"
#include "model/cluster.h"

namespace sluice::upstream {

// Where EDS clusters get their endpoints; the control plane's client has it. Control thread.
class EndpointDiscovery {
 public:
  class Sink {
   public:
    virtual void on_assignment(const std::shared_ptr<const model::Assignment>& assignment) = 0;
    // There was an outcome, whatever it is: the cluster need not be waited for any longer. Comes once at least, also
    // behind each on_assignment.
    virtual void on_answered() = 0;

   protected:
    ~Sink() = default;
  };
  // Ends the interest; may be done inside the sink's own callbacks.
  class Feed {
   public:
    virtual ~Feed() = default;
    virtual void start() = 0;  // may call the sink
  };
  virtual Result<std::unique_ptr<Feed>> discover(const std::shared_ptr<const model::Cluster>& cluster,
                                                 Sink& sink) = 0;

 protected:
  ~EndpointDiscovery() = default;
};

}  // namespace sluice::upstream
