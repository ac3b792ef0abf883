/** The XMLTV format: read as it comes in, written so that it is valid. */
export { XmltvError } from './errors.ts';
export { readXmltv } from './reader.ts';
export { formatTime, parseTime } from './time.ts';
export {
  elementOf,
  textOf,
  type XmlElement,
  type XmltvChannel,
  type XmltvItem,
  type XmltvProgramme,
} from './types.ts';
export { channelText, programmeText, TV_END, tvBegin } from './writer.ts';
