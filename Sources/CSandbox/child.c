#include "CSandbox.h"
typedef int penstock_placeholder;
