// What pages gain by a script; each works without it.
"use strict";
