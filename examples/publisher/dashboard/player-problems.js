// What this browser makes of a stream, which may be better another way; what fails at the source fails any way.

export const mediaProblem = (detail) => ({
  title: 'This browser cannot decode the stream',
  detail: `${detail}. VLC and ffplay may play it.`,
  isOfBrowser: true,
});

export const playerProblem = ({ message }) => ({
  title: 'The player did not start',
  detail: message,
  isOfBrowser: true,
});
