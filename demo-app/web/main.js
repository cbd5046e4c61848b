// Starts the page. Each module looks after one card; `session` tells them what has changed.

import './states.js'
import './account.js'
import './password.js'
import './protected.js'
import './sessions.js'
import './sign_in.js'
import './single_use.js'
import './stream.js'
import { resume, tick } from './session.js'

setInterval(tick, 1000)
resume()
